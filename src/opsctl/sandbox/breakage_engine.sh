# Read before breakage.sh: the droplet's engine and sshd switched on and off, and a container started whatever it is doing.
no() { echo "$*" >&2; exit 1; }

# start|stop docker|ssh. A socket unit would bring a stopped service back at the next connection.
unit() {
    if [ -d /run/systemd/system ]; then
        systemctl is-enabled -q "$2.socket" 2> /dev/null && systemctl "$1" "$2.socket"
        systemctl "$1" "$2.service"
    else
        case $2 in docker) droplet-service "$1" dockerd ;; ssh) droplet-service "$1" sshd ;; esac
    fi
}

answers() {
    for _ in $(seq 100); do docker version > /dev/null 2>&1 && return 0; sleep 0.2; done
    no "the engine does not answer"
}

# Ports that the engine's proxies serve for no container. An engine that is killed between giving a container its ports
# and handing it its network takes the ports up again when it is back, and knows no more whose they are.
stale_ports() {
    local proxies known pid port address
    proxies=$(pgrep -a docker-proxy | sed -nE 's/^([0-9]+) .*-host-port ([0-9]+) -container-ip ([^ ]+) .*/\1 \2 \3/p')
    [ -n "$proxies" ] || return 0
    # One that is being started is locked, and so is seen as it is afterwards.
    known=$(docker ps -aq | xargs -r docker inspect -f '{{$c := .NetworkSettings}}{{range .NetworkSettings.Networks}}{{$ip := .IPAddress}}{{range $c.Ports}}{{range .}}{{.HostPort}} {{$ip}}{{println}}{{end}}{{end}}{{end}}') || return 0
    while read -r pid port address; do
        grep -qxF "$port $address" <<< "$known" || [ ! -e "/proc/$pid" ] || echo "$port"
    done <<< "$proxies" | sort -nu | paste -sd' '
}
mend_ports() {
    local held
    held=$(stale_ports)
    [ -n "$held" ] || return 0
    unit stop docker
    unit start docker
    answers && echo "ports $held"
}

# `docker restart` would meet one that crashes in a loop between two lives.
start_again() { # CONTAINER
    local said
    for _ in $(seq 5); do
        said=$(docker stop -t 1 "$1" 2>&1) || no "$said"
        for _ in $(seq 50); do
            [ "$(docker inspect -f '{{.State.Running}} {{.State.Restarting}}' "$1")" != 'false false' ] || break
            sleep 0.1
        done
        said=$(docker start "$1" 2>&1) && return 0
        case $said in *'port is already allocated'*) mend_ports > /dev/null ;; *) sleep 0.5 ;; esac
    done
    no "$said"
}
