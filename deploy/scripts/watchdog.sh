#!/usr/bin/env bash
# Restarts an instance that hangs: its process is there, but answers nobody. One that ended is restarted by
# systemd itself, and Dify or a store that is away is no reason, so only /health/live is asked.
#
#   deploy/scripts/watchdog.sh UNIT URL
#
# OPENDIFY_RESTART   systemctl restart; gets the unit as its argument
# WATCHDOG_INTERVAL  10 seconds between two questions
# WATCHDOG_TIMEOUT   5 seconds for an answer
# WATCHDOG_FAILURES  3 in a row before it is restarted
# WATCHDOG_PAUSE     60 seconds after a restart; doubled by each that did not help, up to WATCHDOG_MOST_PAUSE
# WATCHDOG_WEBHOOK   an address that gets {"text": …}, once when it begins and once when it is over
set -euo pipefail
# shellcheck source=deploy/scripts/probing.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/probing.sh"

[ $# -eq 2 ] || {
    printf 'usage: %s UNIT URL\n' "${0##*/}" >&2
    exit 2
}
unit=$1 url=$2
restart=${OPENDIFY_RESTART:-systemctl restart}
interval=${WATCHDOG_INTERVAL:-10} timeout=${WATCHDOG_TIMEOUT:-5} failures_allowed=${WATCHDOG_FAILURES:-3}
first_pause=${WATCHDOG_PAUSE:-60} most_pause=${WATCHDOG_MOST_PAUSE:-900}
failures=0 pause=$first_pause restarts=0

tell() {
    printf '%s\n' "$1"
    # The incident goes on without the message.
    [ -z "${WATCHDOG_WEBHOOK:-}" ] || curl --silent --max-time 10 --output /dev/null \
        --header 'Content-Type: application/json' --data "{\"text\": \"$1\"}" "$WATCHDOG_WEBHOOK" || true
}

note_well() {
    failures=0
    [ "$restarts" -eq 0 ] || tell "$unit answers again after $restarts restart(s)"
    restarts=0 pause=$first_pause
}

restart_once() {
    restarts=$((restarts + 1)) failures=0
    if [ "$restarts" -eq 1 ]; then
        tell "$unit does not answer and is restarted"
    else
        printf '%s still does not answer: restart %d, then %d s of patience\n' "$unit" "$restarts" "$pause"
    fi
    # Without quotes: a command with its arguments. One that fails is tried again after the pause.
    # shellcheck disable=SC2086
    $restart "$unit" || true
    wait_for_it
    pause=$((pause * 2 > most_pause ? most_pause : pause * 2))
}

# For the whole pause, unless it answers before.
wait_for_it() {
    local until=$((SECONDS + pause))
    until is_well "$url/health/live" "$timeout"; do
        [ "$SECONDS" -lt "$until" ] || return 0
        sleep "$interval"
    done
}

while true; do
    if is_well "$url/health/live" "$timeout"; then
        note_well
    else
        failures=$((failures + 1))
        [ "$failures" -lt "$failures_allowed" ] || restart_once
    fi
    sleep "$interval"
done
