#!/usr/bin/env bash
# Runs the tests. Arguments are handed on to pytest.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
. scripts/environment.sh

prepare_environment development
exec python -m pytest "$@"
