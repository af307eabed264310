#!/usr/bin/env bash
# Starts OpenDify for production in the foreground. Arguments are handed on to Gunicorn.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
. scripts/environment.sh

export ENVIRONMENT="${ENVIRONMENT:-production}"

prepare_environment production
python -m opendify.serving.preflight

say "Starting OpenDify ($ENVIRONMENT)"
# `exec` leaves one process, so that signals reach Gunicorn and running streams are ended in order.
exec python -m gunicorn --config gunicorn_config.py main:app "$@"
