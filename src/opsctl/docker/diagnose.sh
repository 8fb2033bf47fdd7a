# One look at a failed service; changes nothing.
export LC_ALL=C PATH="$PATH:/usr/local/bin:/snap/bin"
mark=$1 template=$2 socket=$3 id=$4 lines=$5
[ -n "$socket" ] && export DOCKER_HOST="unix://$socket"
section() { local name=$1; shift; printf '%s %s\n' "$mark" "$name"; "$@" 2>&1; printf '\n%s rc %s\n' "$mark" "$?"; }
kernel() { { dmesg 2>/dev/null || journalctl -k -b -o short-monotonic --no-pager 2>/dev/null; } | grep -E 'oom-kill:|Killed process' | tail -n 40; }
disk() { df -Pk "$(docker info --format '{{.DockerRootDir}}')" | tail -n 1; }
exec 10< <(section inspect docker container inspect --format "$template" "$id")
exec 11< <(section logs docker logs --tail "$lines" "$id") 12< <(section kernel kernel) 13< <(section disk disk)
section uptime cat /proc/uptime; section meminfo cat /proc/meminfo
cat <&10; cat <&11; cat <&12; cat <&13
exit 0
