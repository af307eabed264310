#!/usr/bin/env bash
# Builds both images and uses them as an operator would. Needs Docker; cleans up behind itself.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

readonly name=opendify-try network=opendify-try
step() { printf '== %s\n' "$1"; }

clean_up() {
    docker rm --force "$name" "$name-dify" >/dev/null 2>&1 || true
    docker network rm "$network" >/dev/null 2>&1 || true
}
trap clean_up EXIT
clean_up

wait_until_healthy() {
    local container=$1 tries
    for ((tries = 0; tries < 60; tries++)); do
        [ "$(docker inspect --format '{{.State.Health.Status}}' "$container")" = healthy ] && return
        sleep 1
    done
    docker logs "$container" >&2
    printf '%s never became healthy\n' "$container" >&2
    return 1
}

# From the other container, since what runs in one ends with it.
ask() {
    docker exec "$name-dify" python -c '
import json, sys, urllib.request
body = {"model": "bot", "messages": [{"role": "user", "content": sys.argv[2]}], "stream": len(sys.argv) > 3}
asked = urllib.request.Request(
    f"http://{sys.argv[1]}:5000/v1/chat/completions", json.dumps(body).encode(), {"Authorization": "Bearer sk-try-0123456789"}
)
for line in urllib.request.urlopen(asked, timeout=60):
    print(line.decode(), end="", flush=True)' "$name" "$@"
}

step "build"
docker build --tag "$name" .
docker build --tag "$name-dev" --file Dockerfile.dev .

step "a Dify, and the service with a read-only root and no capability"
docker network create "$network" >/dev/null
docker run --detach --name "$name-dify" --network "$network" "$name-dev" \
    opendify simulate --host 0.0.0.0 --port 5001 >/dev/null
docker run --detach --name "$name" --network "$network" \
    --read-only --tmpfs /tmp --volume /app/data --cap-drop ALL --security-opt no-new-privileges \
    --env DIFY_API_BASE="http://$name-dify:5001/v1" --env MODEL_CONFIG='{"bot": "app-demo-chat"}' \
    --env API_KEYS=try:sk-try-0123456789 --env GUNICORN_WORKERS=1 \
    --stop-timeout 130 --health-interval 2s "$name" >/dev/null
wait_until_healthy "$name"

step "who it runs as"
[ "$(docker exec "$name" id -u)" = 10001 ]

step "an answer"
ask Hello | grep --quiet '"content"'

step "a stop waits for a running stream"
answer=$(mktemp)
ask "LONG:60 RATE:6" stream >"$answer" &
stream=$!
for ((tries = 0; tries < 60; tries++)); do
    [ -s "$answer" ] && break
    sleep 0.5
done
docker stop "$name" >/dev/null
wait "$stream"
grep --quiet --fixed-strings 'data: [DONE]' "$answer"
rm "$answer"
[ "$(docker inspect --format '{{.State.ExitCode}}' "$name")" = 0 ]

step "a stop is obeyed while the server still starts"
docker rm --force "$name" >/dev/null
docker run --detach --init --name "$name" --env AUTH_MODE=open "$name" --dev-mode >/dev/null
docker stop --time 20 "$name" >/dev/null
# 137 would be the kill after those 20 seconds.
[ "$(docker inspect --format '{{.State.ExitCode}}' "$name")" != 137 ]

step "the development image"
docker rm --force "$name" >/dev/null
docker run --detach --name "$name" --env AUTH_MODE=open "$name-dev" >/dev/null
wait_until_healthy "$name"
printf 'all good\n'
