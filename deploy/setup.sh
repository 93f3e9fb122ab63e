#!/usr/bin/env bash
# Installs what `make demo` and `make test` need and this machine lacks: a C compiler (for ring), the Postgres server
# programs, Redis and openssl for the tests, curl for the commands that the demo prints. Debian and its relatives only;
# elsewhere it names what is missing. No service is started: the demo and the tests run servers of their own.
set -euo pipefail

fail() {
    echo "setup: $*" >&2
    exit 1
}

has_postgres() {
    local folder
    if [ -n "${PG_BIN:-}" ]; then
        [ -x "$PG_BIN/initdb" ] || fail "PG_BIN=$PG_BIN holds no initdb"
        return 0
    fi
    for folder in /usr/lib/postgresql/{15,16,17,18}/bin /usr/local/pgsql/bin; do
        [ -x "$folder/initdb" ] && return 0
    done
    command -v initdb >/dev/null
}

missing_packages() {
    command -v cc >/dev/null || echo build-essential
    has_postgres || echo postgresql
    command -v redis-server >/dev/null || echo redis-server
    command -v curl >/dev/null || echo curl
    # The peers' page signs with it.
    command -v openssl >/dev/null || echo openssl
    # Calls to peers are checked against the system's roots.
    [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "root is needed to run: $*"
    fi
}

# Refuses every start of a service while packages are installed, unless the machine has a policy of its own.
without_services() {
    local policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then
        "$@"
        return
    fi
    # shellcheck disable=SC2016 # the inner shell expands them
    as_root sh -c 'printf "#!/bin/sh\nexit 101\n" >"$1" && chmod 755 "$1"' sh "$policy"
    trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
    "$@"
    as_root rm -f "$policy"
    trap - EXIT
}

# The package would make a cluster that nobody asked for; a machine with a configuration of its own keeps it.
no_main_cluster() {
    local file=/etc/postgresql-common/createcluster.conf
    [ -e "$file" ] && return
    as_root mkdir -p /etc/postgresql-common
    # shellcheck disable=SC2016
    as_root sh -c 'echo "create_main_cluster = false" >"$1"' sh "$file"
}

install_packages() {
    local log
    log=$(mktemp)
    # Packages talk a lot; what they say matters only when they fail.
    if ! { as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            -o Dpkg::Options::=--force-confold "$@"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        fail "apt-get could not install $*; all it said is in $log"
    fi
    rm -f "$log"
}

# Installing enables the service for the next boot; only called for a Redis that was not there before.
disable_redis() {
    command -v systemctl >/dev/null || return 0
    as_root systemctl disable --quiet redis-server || echo "setup: redis-server stays enabled at boot" >&2
}

main() {
    command -v cargo >/dev/null || fail "no Rust toolchain: install one from https://rustup.rs and open a new shell"
    local packages
    mapfile -t packages < <(missing_packages)
    # A failure inside the substitution does not end this shell.
    [ -z "${PG_BIN:-}" ] || has_postgres
    [ "${#packages[@]}" -eq 0 ] && return
    command -v apt-get >/dev/null || fail "please install (names as in Debian): ${packages[*]}"
    echo "setup: installing ${packages[*]}" >&2
    case " ${packages[*]} " in *" postgresql "*) no_main_cluster ;; esac
    without_services install_packages "${packages[@]}"
    case " ${packages[*]} " in *" redis-server "*) disable_redis ;; esac
    has_postgres || fail "the package postgresql brought no server of version 15 to 18: set PG_BIN"
}

main "$@"
