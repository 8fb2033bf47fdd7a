# One look at a failed service; changes nothing.
export LC_ALL=C PATH="$PATH:/usr/local/bin:/snap/bin"
mark=$1 template=$2 socket=$3 id=$4 lines=$5
[ -n "$socket" ] && export DOCKER_HOST="unix://$socket"
section() { local name=$1; shift; printf '%s %s\n' "$mark" "$name"; "$@" 2>&1; printf '\n%s rc %s\n' "$mark" "$?"; }
kernel() { { dmesg 2>/dev/null || journalctl -k -b -o short-monotonic --no-pager 2>/dev/null; } | grep -E 'oom-kill:|Killed process' | tail -n 40; }
# Who has the port that the engine would not give. Its own proxy is listed, too: it may serve nobody any more.
port() {
  local port restart='service docker restart'
  port=$(docker container inspect --format '{{.State.Error}}' "$id" | grep -oE ':[0-9]+ failed: port is already' | grep -oE '[0-9]+' | head -n 1)
  [ -n "$port" ] || return 0
  [ ! -d /run/systemd/system ] || restart='systemctl restart docker'
  printf 'restart %s\n' "$restart"
  docker ps --no-trunc --filter "publish=$port" --format 'container {{.Names}} {{.ID}}' | grep -v " $id\$"
  { ss -Hltnp "sport = :$port"; ss -Hlunp "sport = :$port"; } 2>/dev/null | grep -oE '"[^"]+",pid=[0-9]+' | sed -E 's/"([^"]+)",pid=/program \1 /' | sort -u
}
disk() { df -Pk "$(docker info --format '{{.DockerRootDir}}')" | tail -n 1; }
exec 10< <(section inspect docker container inspect --format "$template" "$id")
exec 11< <(section logs docker logs --tail "$lines" "$id") 12< <(section kernel kernel) 13< <(section disk disk) 14< <(section port port)
section uptime cat /proc/uptime; section meminfo cat /proc/meminfo
cat <&10; cat <&11; cat <&12; cat <&13; cat <&14
exit 0
