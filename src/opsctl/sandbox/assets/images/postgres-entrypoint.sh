#!/bin/bash
# First start: make the cluster, run a server that listens on its socket only, create user and database, run
# /docker-entrypoint-initdb.d. Every start: hand over to the real server.
set -Eeuo pipefail
umask 077

if [ "${1:-}" != postgres ] && [ "${1#-}" = "${1:-}" ] && [ $# -gt 0 ]; then exec "$@"; fi
if [ "${1#-}" != "${1:-}" ] || [ $# -eq 0 ]; then set -- postgres "$@"; fi

if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /run/postgresql
    chown postgres: "$PGDATA" /run/postgresql
    chmod 0700 "$PGDATA"
    chmod 2775 /run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}

run_sql() { psql -X -v ON_ERROR_STOP=1 --no-password -U "$user" -d "$1" "${@:2}"; }

initialise() {
    if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
        echo "error: no superuser password given: set POSTGRES_PASSWORD" >&2
        exit 1
    fi
    # Made in a folder of its own and moved at the end, PG_VERSION last: a start that is cut short begins anew.
    local new="$PGDATA/.new"
    initdb -D "$new" -U "$user" --encoding=UTF8 --locale=C.UTF-8 --auth-local=trust \
        --auth-host="${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" --pwfile=<(printf '%s\n' "${POSTGRES_PASSWORD:-}")
    printf 'host all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >> "$new/pg_hba.conf"
    pg_ctl -D "$new" -w -o "-c listen_addresses=''" start
    if [ "$database" != postgres ]; then
        run_sql postgres -v database="$database" <<< 'CREATE DATABASE :"database";'
    fi
    local script
    for script in /docker-entrypoint-initdb.d/*; do
        case "$script" in
            *.sh) echo "running $script"; . "$script" ;;
            *.sql) echo "running $script"; run_sql "$database" -f "$script" ;;
        esac
    done
    pg_ctl -D "$new" -m fast -w stop
    find "$new" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv -t "$PGDATA" {} +
    mv "$new/PG_VERSION" "$PGDATA/"
    rmdir "$new"
    echo "PostgreSQL init process complete; ready for start up."
}

if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
    find "$PGDATA" -mindepth 1 -delete
    initialise
fi
exec "$@"
