# Sent to the droplet in front of a shell contestant's work: the probes. Each answers within seconds or fails.
in_postgres() { # container, psql's arguments
    docker exec -i "$1" sh -c 'PGPASSWORD=$POSTGRES_PASSWORD exec psql -h 127.0.0.1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" "$@"' psql "${@:2}"
}
answers() { # container kind target
    case $2 in
        http) curl -fsS -o /dev/null -m 2 "$3" 2>/dev/null ;;
        sql) in_postgres "$1" -qAtc "$3" </dev/null >/dev/null 2>&1 ;;
        command) docker exec "$1" $3 </dev/null >/dev/null 2>&1 ;; # words without quotes, as in the sandbox's stack file
        tcp) (exec 3<>"/dev/tcp/127.0.0.1/$3") 2>/dev/null ;;
    esac
}
wait_for() { # container kind target: every 100 ms, for a minute
    local tries=600
    until answers "$@"; do
        tries=$((tries - 1))
        if [ "$tries" = 0 ]; then echo "$1 does not answer" >&2; return 1; fi
        sleep 0.1
    done
}
apply() { in_postgres "$1" -q -v ON_ERROR_STOP=1 < "$2" >/dev/null; } # container file
