#!/bin/sh
# Redis keeps its data in /data and runs as its own user.
set -e
if [ "${1#-}" != "$1" ]; then set -- redis-server "$@"; fi
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
    chown redis: /data
    # Other services reach it over compose's network, which protected mode takes for the open internet.
    set -- "$@" --protected-mode no
    exec setpriv --reuid=redis --regid=redis --init-groups "$0" "$@"
fi
exec "$@"
