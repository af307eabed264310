# shellcheck shell=bash
# Asks a server on plain HTTP whether it is well, with nothing but bash. Sourced by the other scripts.

# Whether $1 (http://HOST:PORT/PATH) answers 200 within $2 seconds. A server that hangs takes a connection
# all the same, so the answer is waited for.
is_well() {
    local seconds=$2 address=${1#http://} host port path
    path=/${address#*/}
    host=${address%%/*}
    port=${host##*:}
    host=${host%:*}
    # shellcheck disable=SC2016 # For the inner bash.
    timeout "$seconds" bash -c '
        exec 3<>"/dev/tcp/$0/$1" &&
            printf "GET %s HTTP/1.1\r\nHost: %s:%s\r\nConnection: close\r\n\r\n" "$2" "$0" "$1" >&3 &&
            read -r _ status _ <&3 && [ "$status" = 200 ]
    ' "$host" "$port" "$path" 2>/dev/null
}
