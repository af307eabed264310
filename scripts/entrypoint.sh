#!/usr/bin/env bash
# What an image starts: `docker run IMAGE` for production, `docker run IMAGE --dev-mode` for development with
# reloading, both with more flags for Gunicorn if there are any; anything else is a command of its own.
set -euo pipefail

case "${1:-}" in
--dev-mode) exec ./start_development.sh "${@:2}" ;;
--production-mode) exec ./start_production.sh "${@:2}" ;;
-*) exec ./start_production.sh "$@" ;;
*) exec "$@" ;;
esac
