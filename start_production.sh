#!/usr/bin/env bash
# Starts OpenDify for production in the foreground. Arguments are handed on to Gunicorn.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
. scripts/environment.sh

prepare_environment production
# `exec` leaves one process, which becomes Gunicorn, so that signals reach it and running streams are ended in order.
exec python -m opendify.cli serve "$@"
