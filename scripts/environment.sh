# shellcheck shell=bash
# Makes the Python environment in `.venv`, or leaves it alone when it is up to date. Sourced by the
# scripts in the project's folder, with that folder as working directory.
#
# `OPENDIFY_ENVIRONMENT_READY=1` (set in the images) says that the `python` on PATH has everything.

fail() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit "${2:-1}"
}

say() {
    printf '%s\n' "$1"
}

find_python() {
    local candidate
    for candidate in python3.14 python3.13 python3.12 python3.11 python3 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# What the environment in `.venv` was made from; its folder too, since an environment cannot be moved.
# `cksum` because every system has it; this guards against forgetting, not against malice.
environment_digest() {
    { pwd -P && cat pyproject.toml uv.lock requirements.txt; } | cksum
}

# An environment for development has everything that one for production has.
environment_is_ready() {
    local wanted=$1 stamp=.venv/opendify-stamp
    [ -x .venv/bin/python ] && [ -r "$stamp" ] || return 1
    case "$(cat "$stamp")" in
        "development $(environment_digest)") return 0 ;;
        "production $(environment_digest)") [ "$wanted" = production ] ;;
        *) return 1 ;;
    esac
}

# `--inexact` keeps what somebody installed for development, which a production start does not need.
sync_with_uv() {
    local uv=$1 wanted=$2
    local -a groups=()
    [ "$wanted" = development ] || groups=(--no-dev)
    env -u VIRTUAL_ENV UV_PROJECT_ENVIRONMENT="$PWD/.venv" \
        "$uv" sync --quiet --frozen --inexact ${groups[@]+"${groups[@]}"}
}

sync_with_pip() {
    local wanted=$1 python
    python=$(find_python) ||
        fail "no Python 3.11 or newer was found; install one, or uv (https://docs.astral.sh/uv/)"
    [ -x .venv/bin/python ] && [ -x .venv/bin/pip ] || "$python" -m venv --clear .venv >&2 ||
        fail "$python cannot make an environment; install its venv module (Debian: apt-get install python3-venv)"
    if [ "$wanted" = development ]; then
        # Only uv reads the lock's development part.
        .venv/bin/python -m pip install --quiet uv && sync_with_uv .venv/bin/uv "$wanted"
    else
        .venv/bin/python -m pip install --quiet --require-hashes --requirement requirements.txt &&
            .venv/bin/python -m pip install --quiet --no-deps --editable .
    fi
}

install_what_is_locked() {
    if command -v uv >/dev/null; then
        sync_with_uv uv "$1" && return
        # The lock names files of one index; pip also asks the mirror that it is configured for.
        say "uv could not install; trying pip"
    fi
    sync_with_pip "$1"
}

make_environment() {
    local wanted=$1
    # Several instances may be started at once from one checkout.
    if command -v flock >/dev/null; then
        exec 9<uv.lock
        flock 9
    fi
    if ! environment_is_ready "$wanted"; then
        say "Making the Python environment in .venv (once for each version of uv.lock)"
        rm -f .venv/opendify-stamp
        install_what_is_locked "$wanted" ||
            fail "the Python environment could not be made; the lines above say why"
        printf '%s %s\n' "$wanted" "$(environment_digest)" >.venv/opendify-stamp
    fi
    if command -v flock >/dev/null; then
        exec 9<&-
    fi
}

# Puts a `python` and an `opendify` on PATH that have all that `$1` (production or development) needs.
prepare_environment() {
    if [ "${OPENDIFY_ENVIRONMENT_READY:-}" != 1 ]; then
        environment_is_ready "$1" || make_environment "$1"
        export PATH="$PWD/.venv/bin:$PATH"
    fi
}
