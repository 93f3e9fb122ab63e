#!/usr/bin/env bash
# Runs every test against servers of its own: one throw-away Postgres and one Redis on free ports, gone at the end
# whatever happens. The last line is the sum of all test results. Arguments go to `cargo test`.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

folder=$(mktemp -d /var/tmp/dpg-test.XXXXXX) || exit 1
password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
postgres_log=$folder/postgres.log
redis_pid=
postgres_bin=
postgres_user=

# shellcheck disable=SC2317 # called by the trap
finish() {
    if [ -n "$redis_pid" ]; then
        kill "$redis_pid" 2>/dev/null
        wait "$redis_pid" 2>/dev/null
    fi
    if [ -f "$folder/data/postmaster.pid" ]; then
        as_postgres "$postgres_bin/pg_ctl" -D "$folder/data" -m immediate -w stop >/dev/null
    fi
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

fail() {
    echo "test: $*" >&2
    echo "0 passed, 0 failed"
    exit 1
}

find_postgres() {
    if [ -n "${PG_BIN:-}" ]; then
        postgres_bin=$PG_BIN
    else
        local candidate
        for candidate in /usr/local/pgsql/bin /usr/lib/postgresql/{15,16,17,18}/bin; do
            [ -x "$candidate/initdb" ] && postgres_bin=$candidate
        done
        [ -n "$postgres_bin" ] || postgres_bin=$(dirname "$(command -v initdb)")
    fi
    [ -x "$postgres_bin/initdb" ] || fail "no initdb in ${postgres_bin:-the usual places}: run \`make setup\`, or set PG_BIN"
}

# Postgres refuses to run as root.
as_postgres() {
    if [ -n "$postgres_user" ]; then
        (cd / && runuser -u "$postgres_user" -- "$@")
    else
        "$@"
    fi
}

# Anything listening? Then the port is taken. (bash opens the connection; nothing else need be installed.)
free_port() {
    local port
    for _ in $(seq 50); do
        port=$((20000 + RANDOM % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    return 1
}

# Tests of durability start a cluster of their own with fsync on; this one may lose everything in a power cut.
start_postgres() {
    local port
    printf '%s' "$password" >"$folder/password"
    if [ "$(id -u)" -eq 0 ]; then
        if id -u postgres >/dev/null 2>&1; then postgres_user=postgres; else postgres_user=nobody; fi
        chown -R "$postgres_user" "$folder"
    fi
    as_postgres "$postgres_bin/initdb" -D "$folder/data" -U postgres --auth=scram-sha-256 --pwfile="$folder/password" \
        --encoding=UTF8 --locale=C --no-sync >"$postgres_log" 2>&1 || fail "initdb: $(tail -n 5 "$postgres_log")"
    cat >>"$folder/data/postgresql.conf" <<SETTINGS
listen_addresses = '127.0.0.1'
unix_socket_directories = '$folder'
max_connections = 300
max_locks_per_transaction = 256
shared_buffers = 256MB
fsync = off
full_page_writes = off
max_wal_size = 4GB
SETTINGS
    for _ in 1 2 3; do
        port=$(free_port) || continue
        if as_postgres "$postgres_bin/pg_ctl" -D "$folder/data" -l "$folder/server.log" -o "-p $port" -w start >/dev/null; then
            export DPG_TEST_POSTGRES="postgres://postgres:$password@127.0.0.1:$port/postgres"
            return
        fi
    done
    fail "Postgres did not start: $(tail -n 5 "$folder/server.log")"
}

start_redis() {
    local port
    for _ in 1 2 3; do
        port=$(free_port) || continue
        # The password goes in by a file, so that it does not show in the list of processes.
        printf 'requirepass %s\nport %s\nbind 127.0.0.1\nsave ""\ndir %s\n' "$password" "$port" "$folder" >"$folder/redis.conf"
        redis-server "$folder/redis.conf" >"$folder/redis.log" 2>&1 &
        redis_pid=$!
        for _ in $(seq 100); do
            if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
                export DPG_TEST_REDIS="redis://default:$password@127.0.0.1:$port"
                return
            fi
            kill -0 "$redis_pid" 2>/dev/null || break
            sleep 0.1
        done
    done
    fail "Redis did not start: $(tail -n 5 "$folder/redis.log")"
}

# Sums `test result: ok. 13 passed; 0 failed; …` over all test programs.
summary() {
    awk '/^test result:/ { for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) passed += $(i-1); if ($i ~ /^failed/) failed += $(i-1) } }
        END { printf "%d passed, %d failed\n", passed, failed }' "$1"
}

find_postgres
command -v redis-server >/dev/null || fail "no redis-server: run \`make setup\`"
start_postgres
start_redis
export PG_BIN=$postgres_bin

status=0
# The tests of whole instances start this program.
cargo build --locked -p dpg-api --bin dpg || fail "the build failed"
cargo test --locked --workspace --no-fail-fast "$@" 2>&1 | tee "$folder/output"
status=${PIPESTATUS[0]}
sum=$(summary "$folder/output")
case $sum in
    "0 passed"*) echo "test: no test ran" >&2 && status=1 ;;
    *", 0 failed") ;;
    *) status=1 ;;
esac
[ "$status" -eq 0 ] || echo "test: FAILED" >&2
echo "$sum"
exit "$status"
