#!/usr/bin/env bash
# Starts OpenDify for production in the foreground. Arguments are handed on to Gunicorn.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
. scripts/environment.sh

export ENVIRONMENT="${ENVIRONMENT:-production}"

prepare_environment production
python -m opendify.serving.preflight

# glibc would keep a heap for each of many threads, and what large bodies took: with 12 pictures of 9 MB
# at a time a worker held 396 MB afterwards, and holds 199 MB so.
export MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-2}" MALLOC_MMAP_THRESHOLD_="${MALLOC_MMAP_THRESHOLD_:-1048576}"

say "Starting OpenDify ($ENVIRONMENT)"
# `exec` leaves one process, so that signals reach Gunicorn and running streams are ended in order.
exec python -m gunicorn --config gunicorn_config.py main:app "$@"
