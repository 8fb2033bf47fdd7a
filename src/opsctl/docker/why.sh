# Everything that tells why something died, read at once, also where Docker is down; changes nothing. Parsed in why.py.
# $1 mark · $2 the engine's socket or nothing · $3 format of inspect · $4 a service or nothing · $5 log lines · $6 state folder
export LC_ALL=C PATH="$PATH:/usr/local/bin:/snap/bin"
mark=$1 socket=$2 template=$3 wanted=$4 lines=$5 state=$6
[ -n "$socket" ] && export DOCKER_HOST="unix://${socket#unix://}"
section() { local name=$1; shift; printf '%s %s\n' "$mark" "$name"; "$@" 2>&1; printf '\n%s rc %s\n' "$mark" "$?"; }
quiet() { "$@" 2>/dev/null; }
has() { command -v "$1" >/dev/null; }
systemd() { [ -d /run/systemd/journal ] && has journalctl; }

each_alone() { # format, ids
  local id fd fds=()
  for id in $2; do
    exec {fd}< <(timeout 5 docker container inspect --format "$1" "$id" 2>/dev/null)
    fds+=("$fd")
  done
  for fd in "${fds[@]}"; do cat <&"$fd"; done
}

engine() { # the containers, and the last log lines of those with which something is wrong
  local ids out head id status code restarts health service rest pids=() n=0
  if ! has docker; then echo 'docker: command not found'; return 127; fi
  out=$(timeout 5 docker ps -a --no-trunc --format '{{.ID}} {{.Names}} {{.Label "com.docker.compose.service"}}' 2>&1) ||
    { n=$?; printf '%s\n' "$out"; return "$n"; }
  [ -z "$out" ] && return 0
  sed 's/^/@@row /' <<<"$out"
  ids=$(cut -d' ' -f1 <<<"$out")
  # `index`: the template reads the raw answer, where what has no health check has no such field either.
  head='@@c {{.Id}} {{.State.Status}} {{.State.ExitCode}} {{.RestartCount}} {{with index .State "Health"}}{{.Status}}{{else}}-{{end}} {{with .Config.Labels}}{{with index . "com.docker.compose.service"}}{{.}}{{end}}{{end}} @{{.Path}}'
  # shellcheck disable=SC2086 # one word an id
  out=$(timeout 8 docker container inspect --format "$head"$'\n'"$template" $ids 2>&1)
  # One that is dying just now keeps its lock, and all the others waiting.
  if [ $? = 124 ]; then out=$(each_alone "$head"$'\n'"$template" "$ids"); fi
  grep -v '^@@c ' <<<"$out"
  grep -q '^{' <<<"$out" || return 1
  sed -n 's/^@@c \([0-9a-f]*\) .*@\([^@]*\)$/@@program \1 \2/p' <<<"$out"
  while read -r _ id status code restarts health service rest; do
    case $service in @*) service='' ;; esac
    if [ -n "$wanted" ]; then
      [ "$wanted" = "$service" ] || continue
    else
      case $status:$code:$restarts:$health in
        running:*:0:unhealthy | restarting:* | dead:*) ;;
        running:*:0:* | exited:0:* | created:0:* | paused:*) continue ;;
      esac
    fi
    n=$((n + 1)); [ "$n" -gt 8 ] && break
    exec {fd}< <(printf '@@log %s\n' "$id"; timeout 4 docker logs --tail "$lines" "$id" 2>&1 | cut -c -400; printf '\n')
    pids+=("$fd")
  done < <(grep '^@@c ' <<<"$out")
  for fd in "${pids[@]}"; do cat <&"$fd"; done
}

named() { # which container is which, where the engine cannot be asked
  local file
  for file in /var/lib/docker/containers/*/config.v2.json; do
    [ -r "$file" ] || continue
    printf 'named %s %s\n' "$(basename "$(dirname "$file")")" \
      "$(grep -oE '"com.docker.compose.service":"[^"]+"|"Name":"/[^"]+"' "$file" | sort -r | head -n 1 | cut -d'"' -f4)"
  done
}

broken() { # why the engine is not there
  if systemd; then
    quiet systemctl show docker -p ActiveState -p SubState -p Result -p ExecMainStatus -p StateChangeTimestamp
    quiet timeout 3 journalctl -u docker -b -n 6 -o cat -q --no-pager | cut -c -300
  elif ! pidof dockerd >/dev/null; then
    echo 'no dockerd process'
  fi
}

# What the kernel says of killing, and what else it says when a machine is about to stop.
keep='/oom-kill:|invoked oom-killer|Killed process|memory: usage|\[ *[0-9]+\] +[0-9]+ +[0-9]+ +[0-9]+ +[0-9]+ +|Kernel panic|blocked for more than|soft lockup|hard LOCKUP|EXT4-fs error|XFS .*[Ee]rror|I\/O error|[Rr]emounting filesystem read-only|rcu.*stall/ {print substr($0, 1, 900)} END {print "@lines " NR}'
kernel() { # $1: 0 this boot, -1 the one before
  if systemd; then
    quiet timeout 8 journalctl -k -b "$1" -o short-iso -q --no-pager | awk "$keep" | tail -n 2000
  elif [ "$1" = 0 ]; then
    { quiet dmesg --time-format iso || quiet dmesg; } | awk "$keep" | tail -n 2000
  else
    # Without a journal the boots follow each other in one file.
    quiet cat /var/log/kern.log.1 /var/log/kern.log |
      awk '/kernel:.* Linux version /{before=now; now=""; n++} {now=now "\n" $0} END {if (n) print before}' |
      awk "$keep" | tail -n 2000
  fi
}

ended() { # how the boot before ended: what it said last
  systemd || return 1
  quiet timeout 5 journalctl -b -1 -n 60 -o short-iso -q --no-pager | cut -c -300 |
    grep -E 'Reached target .*([Rr]eboot|[Pp]ower.?[Oo]ff|[Ss]hutdown|Halt)|System is (rebooting|powering)|Journal stopped|Shutting down|systemd-shutdown' | tail -n 4 | sed 's/^/clean /'
  quiet timeout 5 journalctl -b -1 -n 1 -o short-iso -q --no-pager | sed 's/^/last /'
}

machine() {
  local self='' nested='' mountroot at rest
  while read -r _ _ _ mountroot at rest; do
    case $mountroot in */containers/*/hostname|*/containers/*/resolv.conf) self=${mountroot%/*} self=${self##*/} ;; esac
    case $at in /proc/meminfo) nested=yes ;; esac
  done </proc/self/mountinfo
  printf 'boot %s\nuptime %s\nnow %s\nself %s\nnested %s\nuid %s\ncpus %s\nload %s\n' "$(</proc/sys/kernel/random/boot_id)" \
    "$(</proc/uptime)" "$(date +%s)" "${self:--}" "${nested:--}" "$UID" "$(nproc)" "$(</proc/loadavg)"
  cat /proc/meminfo
}
pressure() { grep -H '' /proc/pressure/*; }
disks() {
  local where=(/) each
  for each in /var/lib/docker /var/log /tmp "$state"; do [ -d "$each" ] && where+=("$each"); done
  quiet df -Pk "${where[@]}" | awk 'NR > 1 {print "space", $2, $3, $4, $6}' | sort -u
  quiet df -Pi "${where[@]}" | awk 'NR > 1 {print "inodes", $2, $3, $4, $6}' | sort -u
}
processes() { # which process belongs to which container: the kernel names processes only
  quiet grep -oHE '[0-9a-f]{64}' /proc/[0-9]*/cgroup | sed 's,^/proc/\([0-9]*\)/cgroup:,\1 ,' | sort -u
  quiet grep -H '' /proc/[0-9]*/comm | sed 's,^/proc/\([0-9]*\)/comm:,comm \1 ,'
}
events() { # names of containers that are gone; the engine remembers its last events only
  has docker && quiet timeout 3 docker events --since 24h --until "$(date +%s)" --filter type=container \
    --filter event=destroy --filter event=oom --filter event=die \
    --format 'named {{.Actor.ID}} {{with index .Actor.Attributes "com.docker.compose.service"}}{{.}}{{else}}{{index .Actor.Attributes "name"}}{{end}}' | sort -u
}
audit() { quiet tail -n 60 "$state/audit.jsonl"; }

exec 10< <(section engine engine) 11< <(section kernel kernel 0) 12< <(section kernel-before kernel -1)
exec 13< <(section ended ended) 14< <(section processes processes) 15< <(section events events)
section machine machine; section pressure pressure; section disks disks; section audit audit
engine=$(cat <&10); printf '%s\n' "$engine"
case $engine in *"$mark rc 0") ;; *) section broken broken; section named named ;; esac
cat <&11; cat <&12; cat <&13; cat <&15; cat <&14
exit 0
