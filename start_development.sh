#!/usr/bin/env bash
# Starts OpenDify for development: one worker on loopback that reloads changed code and a changed
# `.env`. Without a model configured it talks to a built-in Dify simulator.
# Arguments are handed on to Gunicorn.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
. scripts/environment.sh

export ENVIRONMENT=development
export GUNICORN_RELOAD=true
export GUNICORN_WORKERS="${GUNICORN_WORKERS:-1}"
export SERVER_HOST="${SERVER_HOST:-127.0.0.1}"

models_are_configured() {
    [ -n "${MODEL_CONFIG:-}${MODEL_CONFIG_FILE:-}" ] ||
        { [ -e .env ] && grep -Eq '^[[:space:]]*(export[[:space:]]+)?MODEL_CONFIG(_FILE)?=[^[:space:]]' .env; }
}

free_port() {
    python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

accepts_connections() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

simulate_until_closed() {
    opendify simulate --host 127.0.0.1 --port "$1" </dev/null &
    local simulator=$!
    read -r || true
    kill "$simulator" 2>/dev/null || true
}

# The simulator runs until nobody holds the writing end of a pipe. This process holds it, becomes the
# server and shares it with its workers: however they end, `kill -9` included, the simulator ends too.
start_simulator() {
    local port tries=100
    port=$(free_port)
    exec 8> >(simulate_until_closed "$port")
    until accepts_connections "$port"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "the Dify simulator did not start on port $port"
        sleep 0.1
    done
    DIFY_API_BASE="http://127.0.0.1:$port/v1"
    MODEL_CONFIG=$(python -c '
import json
from opendify.simulator import DEMO_MODELS
print(json.dumps(dict(DEMO_MODELS)))')
    export DIFY_API_BASE MODEL_CONFIG
    say "No model is configured: a Dify simulator answers at $DIFY_API_BASE"
}

asks_for_keys() {
    python -c '
import sys
from opendify.access.keys import KeyRing
from opendify.settings import load_settings
sys.exit(KeyRing(load_settings()).is_open)'
}

say_first_request() {
    local server=$1 model key=""
    if asks_for_keys; then
        key=" -H 'Authorization: Bearer KEY'"
        say "KEY is one of API_KEYS or, where none are set, what the first start wrote to api-key in DATA_DIR."
    fi
    say "Try it from another terminal:"
    if [ "$2" = simulated ]; then
        model=$(python -c 'import json, os; print(next(iter(json.loads(os.environ["MODEL_CONFIG"]))))')
        say "  curl $server/v1/chat/completions -H 'Content-Type: application/json'$key \\"
        say "    -d '{\"model\": \"$model\", \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'"
    else
        say "  curl $server/v1/models$key"
    fi
}

# In the background, so that it is the last thing said.
say_first_request_once_ready() {
    local port
    port=$(python -c 'from opendify.settings import load_server_settings as load; print(load().port)')
    (
        exec 8>&-
        until accepts_connections "$port"; do
            kill -0 "$$" 2>/dev/null || exit 0
            sleep 0.2
        done
        say_first_request "http://127.0.0.1:$port" "$1"
    ) &
}

prepare_environment production
if models_are_configured; then
    dify=configured
else
    dify=simulated
    start_simulator
fi
python -m opendify.serving.preflight
say_first_request_once_ready "$dify"
exec python -m gunicorn --config gunicorn_config.py main:app "$@"
