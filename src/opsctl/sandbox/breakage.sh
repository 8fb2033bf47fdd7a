#!/bin/bash
# breakage.sh break|done|mend WHAT [ARG…], as root on a sandbox's droplet. `break` says what `mend` needs, as lines
# `key value`; `done` exits 0 once the fault has struck; `mend` takes those values as its arguments.
set -u -o pipefail
kept=/var/lib/sandbox-broken

running() { docker ps --format '{{.Label "com.docker.compose.service"}}' | grep . | sort | paste -sd' '; }
container() {
    local found
    found=$(docker ps -q --no-trunc --filter "label=com.docker.compose.service=$1" | head -n 1)
    [ -n "$found" ] || no "no container of service $1 runs; what runs: $(running)"
    echo "$found"
}
main_pid() { docker inspect -f '{{.State.Pid}}' "$1" 2> /dev/null || echo 0; }
# Raising it needs no special right: whatever else is large, the kernel kills this one first.
first_to_go() { echo 1000 > "/proc/$1/oom_score_adj"; }

break_oom() { # SERVICE VICTIM: both may be empty
    local id pid image
    if [ -n "$1$2" ]; then
        id=$(container "${1:-$2}") || exit 1
        pid=$(main_pid "$id")
        first_to_go "$pid" || exit 1
    fi
    if [ -n "$1" ]; then
        # Not the service's own process eats: the victim is not the culprit, as it happens on real droplets.
        docker exec -d "$id" tail /dev/zero || exit 1
    else
        image=$(docker images --format '{{.Repository}}:{{.Tag}}' | grep -m1 -e gateway-mcp) || no "no image to run a culprit from"
        docker rm -f culprit > /dev/null 2>&1
        culprit=$(docker run -d --name culprit --network none --entrypoint tail "$image" /dev/zero) || exit 1
        [ -n "$2" ] || { id=$culprit pid=$(main_pid "$culprit"); }
    fi
    echo "container $id"
    echo "pid $pid"
}
# A pid of 0 is one that was killed before it could be asked for.
done_oom() { # CONTAINER PID
    [ "$2" = 0 ] || [ "$(main_pid "$1")" != "$2" ]
}
mend_oom() { # CONTAINER PID
    docker rm -f culprit > /dev/null 2>&1
    [ "$2" != 0 ] && [ "$(main_pid "$1")" = "$2" ] && echo 0 > "/proc/$2/oom_score_adj"
    return 0
}

break_disk() {
    local left
    left=$(df --output=avail -B1 / | tail -n 1)
    fallocate -l "$left" /var/sandbox-fill 2> /dev/null || { cat /dev/zero > /var/sandbox-fill; } 2> /dev/null
    cat /dev/zero >> /var/sandbox-fill 2> /dev/null
    echo "free $(df --output=avail -B1 / | tail -n 1 | tr -d ' ')"
}
mend_disk() { rm -f /var/sandbox-fill; }

# A small file system of its own over a folder, with what was there, and not one byte free.
cover() {
    local size mode owner
    mkdir -p "$1" "$kept"
    ! mountpoint -q "$1" || no "$1 is a file system of its own already"
    mode=$(stat -c %a "$1") owner=$(stat -c %u:%g "$1")
    size=$(($(du -sk --apparent-size "$1" | cut -f1) + $(find "$1" | wc -l) * 4 + 64))
    rm -rf "$kept/copy" && cp -a "$1" "$kept/copy" || return 1
    mount -t tmpfs -o "size=${size}k,mode=$mode" sandbox-full "$1" || return 1
    chown "$owner" "$1"
    cp -a "$kept/copy/." "$1/" || no "$1 could not be copied"
    rm -rf "$kept/copy"
    cat /dev/zero > "$1/.sandbox-fill" 2> /dev/null
    return 0
}
uncover() {
    mountpoint -q "$1" || return 0
    rm -rf "$1/.sandbox-fill" "$kept/copy"
    cp -a "$1" "$kept/copy" && { umount "$1" 2> /dev/null || umount -l "$1"; } || return 1
    find "$1" -mindepth 1 -delete
    cp -a "$kept/copy/." "$1/" && rm -rf "$kept/copy"
}
volumes() { docker inspect -f '{{range .Mounts}}{{if eq .Type "volume"}}{{println .Source}}{{end}}{{end}}' "$1" | grep .; }

break_disk_cover() { # SERVICE, may be empty
    local id path
    if [ -z "$1" ]; then
        cover /var/lib/opsctl && cover /tmp || exit 1
        return
    fi
    id=$(container "$1") || exit 1
    volumes "$id" > /dev/null || no "service $1 has no volume to fill"
    echo "container $id"
    docker stop "$id" > /dev/null || exit 1
    for path in $(volumes "$id"); do cover "$path" || exit 1; done
    docker start "$id" > /dev/null
}
mend_disk_cover() { # CONTAINER, may be empty
    local path again=''
    if [ -z "$1" ]; then
        uncover /var/lib/opsctl && uncover /tmp
        return
    fi
    [ "$(docker inspect -f '{{.State.Running}}' "$1" 2> /dev/null)" = true ] && again=yes && docker stop "$1" > /dev/null
    for path in $(volumes "$1"); do uncover "$path" || exit 1; done
    # One that ended because its disk was full is no use either.
    [ -n "$again" ] || [ "$(docker inspect -f '{{.State.ExitCode}}' "$1" 2> /dev/null)" != 0 ] && docker start "$1" > /dev/null
    return 0
}

break_docker() { # yes: not even a reboot brings it back
    if [ "$1" = yes ]; then
        mkdir -p "$kept" /etc/docker
        [ -e "$kept/daemon" ] || if [ -e /etc/docker/daemon.json ]; then cp -a /etc/docker/daemon.json "$kept/daemon"; else : > "$kept/daemon.none"; fi
        echo '{"storage-driver": "overlay2", "log-level": ' > /etc/docker/daemon.json
    fi
    unit stop docker
    [ "$1" != yes ] || unit start docker
    return 0
}
mend_docker() {
    [ ! -e "$kept/daemon" ] || mv "$kept/daemon" /etc/docker/daemon.json
    [ ! -e "$kept/daemon.none" ] || rm -f /etc/docker/daemon.json "$kept/daemon.none"
    [ ! -d /run/systemd/system ] || systemctl reset-failed docker.service docker.socket 2> /dev/null
    unit start docker
    answers
}

pids() { docker top "$1" -eo pid 2> /dev/null | tail -n +2; }
break_unhealthy() { # SERVICE
    local id
    id=$(container "$1") || exit 1
    # shellcheck disable=SC2046 # a list of numbers
    kill -STOP $(pids "$id") || exit 1
    echo "container $id"
    echo "pid $(main_pid "$id")"
}
mend_unhealthy() { # CONTAINER PID
    [ "$(main_pid "$1")" = "$2" ] || return 0
    # shellcheck disable=SC2046 # a list of numbers
    kill -CONT $(pids "$1")
}

# The file of the container's own that its start cannot do without: not one that is mounted into it.
program() {
    local word
    for word in $(docker inspect -f '{{.Path}}{{range .Args}} {{.}}{{end}}' "$1"); do
        case $word in
            /*) docker inspect -f '{{range .Mounts}}{{println .Destination}}{{end}}' "$1" | grep -qxF "$word" || { echo "$word"; return; } ;;
        esac
    done
    docker exec "$1" sh -c 'readlink -f "$(command -v "$1")"' sh "$(docker inspect -f '{{.Path}}' "$1")"
}
break_crash() { # SERVICE
    local id path
    id=$(container "$1") || exit 1
    path=$(program "$id") && [ -n "$path" ] || no "what service $1 starts cannot be found in its container"
    mkdir -p "$kept/$id"
    docker cp "$id:$path" "$kept/$id/program" || exit 1
    case $path in
        *.py) echo 'raise RuntimeError("broken by the sandbox")' > "$kept/$id/broken" ;;
        *) printf '#!/bin/sh\necho "fatal: broken by the sandbox" >&2\nexit 1\n' > "$kept/$id/broken" ;;
    esac
    chmod 755 "$kept/$id/broken"
    docker cp "$kept/$id/broken" "$id:$path" || exit 1
    echo "container $id"
    echo "path $path"
    start_again "$id"
}
mend_crash() { # CONTAINER PATH
    [ -n "$1" ] || return 0
    docker inspect "$1" > /dev/null 2>&1 || { rm -rf "${kept:?}/$1"; return 0; }
    # Begun before and not finished: the program is back already.
    [ ! -e "$kept/$1/program" ] || docker cp "$kept/$1/program" "$1:$2" || exit 1
    start_again "$1"
    rm -rf "${kept:?}/$1"
}

outside() { ip -o route show default | sed -n 's/.* dev \([^ ]*\).*/\1/p' | head -n 1; }
rules() { # -I|-D INTERFACE
    iptables -w 5 "$1" INPUT -i "$2" -j DROP && iptables -w 5 "$1" OUTPUT -o "$2" -j DROP &&
        iptables -w 5 "$1" FORWARD -i "$2" -j DROP && iptables -w 5 "$1" FORWARD -o "$2" -j DROP
}
break_network() {
    local name
    name=$(outside)
    [ -n "$name" ] || no "the droplet has no way out that could be cut"
    echo "interface $name"
    rules -I "$name"
}
mend_network() { # INTERFACE: what a reboot took away is no failure
    rules -D "$1" 2> /dev/null
    return 0
}

# SSH goes through a relay that holds back every byte, each way; a connection costs one more way there and back.
relay() {
    cat <<'PYTHON'
import asyncio, sys

DELAY = float(sys.argv[1])


async def pump(reader, writer):
    held = asyncio.Queue(64)

    async def give():
        while (item := await held.get()) is not None:
            due, data = item
            await asyncio.sleep(due - loop.time())
            writer.write(data)
            await writer.drain()
        writer.close()

    giving = asyncio.ensure_future(give())
    try:
        while data := await reader.read(65536):
            await held.put((loop.time() + DELAY, data))
    finally:
        await held.put(None)
        await giving


async def serve(reader, writer):
    await asyncio.sleep(2 * DELAY)
    ssh = await asyncio.open_connection("127.0.0.1", 22)
    await asyncio.gather(pump(reader, ssh[1]), pump(ssh[0], writer), return_exceptions=True)


async def main():
    global loop
    loop = asyncio.get_running_loop()
    async with await asyncio.start_server(serve, "0.0.0.0", 2022) as server:
        await server.serve_forever()


asyncio.run(main())
PYTHON
}
redirect() { iptables -w 5 -t nat "$1" PREROUTING -i "$2" -p tcp --dport 22 -j REDIRECT --to-ports 2022; }
break_slow() { # SECONDS
    local name
    name=$(outside)
    relay > /run/sandbox-relay.py
    setsid python3 -I /run/sandbox-relay.py "$1" < /dev/null > /run/sandbox-relay.log 2>&1 &
    echo "pid $!"
    echo "interface $name"
    for _ in $(seq 150); do (: < /dev/tcp/127.0.0.1/2022) 2> /dev/null && { redirect -I "$name"; return; }; sleep 0.1; done
    no "the relay does not listen: $(tail -n 1 /run/sandbox-relay.log)"
}
mend_slow() { # PID INTERFACE
    redirect -D "$2" 2> /dev/null
    grep -qs sandbox-relay "/proc/$1/cmdline" && kill "$1"
    rm -f /run/sandbox-relay.py /run/sandbox-relay.log
    return 0
}

break_ssh() { unit stop ssh; }
mend_ssh() { unit start ssh; }

break_clock() { date -s "@$(($(date +%s) + $1))" > /dev/null; } # SECONDS
mend_clock() { date -s "@$1" > /dev/null; }                     # the time it is

"$1_$2" "${@:3}"
