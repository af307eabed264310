#!/usr/bin/env bash
# Puts another version in place of the running one, and the former one back if it never gets ready:
#
#   deploy/scripts/deploy.sh VERSION [UNIT=URL ...]
#
# VERSION is a tag or a commit. Instances are restarted one after the other, by default
# opendify.service=http://127.0.0.1:5000; behind nginx two of them leave no gap.
#
# OPENDIFY_HOME      /opt/opendify, a link to the version that runs; the versions lie in OPENDIFY_RELEASES
# OPENDIFY_RELEASES  /opt/opendify-releases, with a clone in `source` and one folder a version
# OPENDIFY_ENV_FILE  /etc/opendify/opendify.env, the settings
# OPENDIFY_RESTART   systemctl restart; gets the unit as its argument
# READY_SECONDS      90, for each instance
#
# Exit codes: 0 the new version serves; 1 it does not, and the former one does; 2 neither.
set -euo pipefail
# shellcheck source=deploy/scripts/probing.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/probing.sh"

home=${OPENDIFY_HOME:-/opt/opendify}
releases=${OPENDIFY_RELEASES:-/opt/opendify-releases}
env_file=${OPENDIFY_ENV_FILE:-/etc/opendify/opendify.env}
restart=${OPENDIFY_RESTART:-systemctl restart}
ready_seconds=${READY_SECONDS:-90}
touched=()

say() { printf '%s\n' "$1"; }

fail() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit "${2:-1}"
}

# A folder of its own for each version, with an environment of its own, before anything is stopped.
prepare() {
    local version=$1 folder=$2
    [ -e "$folder" ] || git -C "$releases/source" worktree add --quiet --force --detach "$folder" "$version" ||
        fail "there is no version $version"
    (
        cd -- "$folder"
        set -a
        # shellcheck source=/dev/null # The operator's own.
        [ ! -e "$env_file" ] || . "$env_file"
        ./start_production.sh --check-config
    ) || fail "$version would not start; nothing was changed"
}

# In one step: at no moment is there no version.
point_home_at() {
    ln -sfn -- "$1" "$home.new"
    mv -T -- "$home.new" "$home"
}

wait_until_ready() {
    local url=$1 until=$((SECONDS + ready_seconds))
    until is_well "$url/health/ready" 5; do
        [ "$SECONDS" -lt "$until" ] || return 1
        sleep 0.5
    done
}

restart_and_wait() {
    local unit=${1%%=*} url=${1#*=}
    say "Restarting $unit"
    # Without quotes: a command with its arguments.
    # shellcheck disable=SC2086
    $restart "$unit" && wait_until_ready "$url"
}

go_back_to() {
    local instance
    say "Going back to ${1##*/}"
    point_home_at "$1"
    for instance in "${touched[@]}"; do
        restart_and_wait "$instance" || fail "${1##*/} does not get ready either" 2
    done
    fail "the new version did not get ready; ${1##*/} serves again"
}

[ $# -ge 1 ] || fail "which version? $0 VERSION [UNIT=URL ...]"
version=$1
shift
[ $# -gt 0 ] || set -- opendify.service=http://127.0.0.1:5000
[ -L "$home" ] || fail "$home must be a link to the folder of a version"

exec 9>"$releases/lock"
flock --nonblock 9 || fail "another deployment goes on"

former=$(readlink -f -- "$home")
[ -z "$(git -C "$releases/source" remote)" ] || git -C "$releases/source" fetch --quiet --tags --force
prepare "$version" "$releases/$version" 9>&-
point_home_at "$releases/$version"
for instance in "$@"; do
    touched+=("$instance")
    restart_and_wait "$instance" 9>&- || go_back_to "$former" 9>&-
done
say "$version serves; the former one is $former"
