# One remote call for the memory report. Prints sections that begin with "@@name"; parsed in collect.py.
# $1 full, or sample (containers and meminfo only)   $2 engine socket, empty to look for it   $3 seconds for disk figures
export LC_ALL=C
mode=$1 socket=$2 patience=$3 root=/var/lib/docker one='' two='' self='' nested=''

section() { printf '\n@@%s\n' "$*"; }
quiet() { "$@" 2>/dev/null; }

find_socket() {
  local each
  [ -n "$socket" ] && return
  for each in "${DOCKER_HOST#unix://}" /var/run/docker.sock "${XDG_RUNTIME_DIR:-/run/user/$UID}/docker.sock"; do
    if [ -S "$each" ]; then socket=$each; [ -w "$each" ] && return; fi
  done
}

get() { # paths on the engine's API, one connection for all of them, one answer a line
  local urls=() path
  for path; do urls+=("http://engine$path"); done
  quiet curl -s -g -m 20 -w '\n' --unix-socket "$socket" "${urls[@]}"
}

read_mounts() { # where the memory controllers are, and whether this view of the machine is its own
  local mountroot at rest
  while read -r _ _ _ mountroot at rest; do
    case $mountroot in */containers/*/hostname|*/containers/*/resolv.conf) self=${mountroot%/*} self=${self##*/} ;; esac
    case $at in /proc/meminfo) nested=${rest##* - } nested=${nested%% *} ;; esac
    case $rest in
      *' - cgroup2 '*) two=${two:-$at} ;;
      *' - cgroup '*) case ",${rest##* }," in *,memory,*) one=$at ;; esac ;;
    esac
  done </proc/self/mountinfo
}

read_engine() {
  local reply running
  if [ -z "$socket" ]; then section engine none; return; fi
  if [ ! -w "$socket" ]; then section engine denied "$socket"; return; fi
  if ! command -v curl >/dev/null; then read_engine_by_cli; return; fi
  if [ "$mode" = full ]; then reply=$(get /info '/containers/json?all=1'); else reply=$(get /containers/json); fi
  if [ -z "$reply" ]; then section engine down "$socket"; return; fi
  section engine api "$socket"
  printf '%s\n' "$reply"
  ids=$(grep -oE '"Id":"[0-9a-f]{64}"' <<<"$reply" | cut -d'"' -f4)
  [[ $reply =~ \"DockerRootDir\":\"([^\"]+)\" ]] && root=${BASH_REMATCH[1]}
  [[ $reply =~ \"ServerVersion\":\"([0-9]+)\. ]] && major=${BASH_REMATCH[1]}
  # The engine answers while the files are read here.
  if [ "$mode" = full ] && [ -n "$ids" ]; then exec {inspect}< <(inspect_all); fi
}

inspect_all() {
  # shellcheck disable=SC2046,SC2086 # one word an id
  get $(printf '/containers/%s/json ' $ids)
}

read_engine_by_cli() {
  if ! command -v docker >/dev/null; then section engine no-client "$socket"; return; fi
  export DOCKER_HOST=unix://$socket
  if ! ids=$(quiet timeout 20 docker ps -aq --no-trunc); then section engine down "$socket"; return; fi
  section engine cli "$socket"
  if [ "$mode" = full ]; then
    quiet docker info --format '{{json .}}'
    root=$(quiet docker info --format '{{.DockerRootDir}}')
  fi
  section inspect
  # shellcheck disable=SC2086 # one word an id
  if [ -n "$ids" ]; then inspected=$(quiet docker inspect --format '{{json .}}' $ids); printf '%s\n' "$inspected"; fi
}

read_pids() { # container id -> pid, for the engines that keep cgroups in unusual places
  local id='' key value
  [ -z "$inspected" ] && inspected=$(inspect_all)
  while IFS=: read -r key value; do
    if [ "$key" = '"Pid"' ]; then [ -n "$id" ] && pids[$id]=${pids[$id]:-$value}; else id=${value//\"/}; fi
  done < <(grep -oE '"Id":"[0-9a-f]{64}"|"Pid":[0-9]+' <<<"$inspected")
}

cgroup_of() { # sets $dir to the memory cgroup of container $1, wherever the engine put it
  local controllers path
  for dir in "$memory/system.slice/docker-$1.scope" "$memory/docker/$1"; do [ -d "$dir" ] && return; done
  [ ${#pids[@]} -eq 0 ] && read_pids
  [ "${pids[$1]:-0}" = 0 ] && return 1
  while IFS=: read -r _ controllers path; do
    if [ -n "$one" ]; then case ",$controllers," in *,memory,*) ;; *) continue ;; esac; fi
    dir=$memory$path
    if [[ $path == *$1* && -d $dir ]]; then return 0; fi
  done < <(quiet cat "/proc/${pids[$1]}/cgroup")
  dir=$(quiet timeout 2 find "$memory" -maxdepth 8 -type d -name "*$1*" -print -quit)
  [ -n "$dir" ]
}

read_cgroups() {
  local id files=() unit
  declare -A pids=()
  local one_files=(memory.usage_in_bytes memory.limit_in_bytes memory.max_usage_in_bytes memory.failcnt memory.oom_control memory.stat)
  local two_files=(memory.current memory.max memory.high memory.peak memory.swap.current memory.swap.max memory.events memory.stat memory.pressure)
  if [ -n "$one" ]; then memory=$one; else memory=$two; fi
  section cgroup "$([ -n "$one" ] && echo 1 || echo 2)" "$memory"
  [ -z "$memory" ] && return
  for id in $ids; do
    cgroup_of "$id" || continue
    if [ -n "$one" ]; then files+=("${one_files[@]/#/$dir/}"); else files+=("${two_files[@]/#/$dir/}"); fi
  done
  [ ${#files[@]} -gt 0 ] && grep -sH '' "${files[@]}"
  [ "$mode" = sample ] && return
  section root-cgroup
  grep -sH '' "$memory"/memory.{stat,usage_in_bytes,kmem.usage_in_bytes,limit_in_bytes,current}
  [ -n "$one" ] && return
  section units
  for unit in "$memory"/*/ "$memory"/system.slice/*/; do
    case $unit in */system.slice/) ;; *) printf '%s\n' "${unit%/}/memory.stat" ;; esac
  done | grep -vF "${ids:-no container}" | quiet xargs -r grep -sHE '^(anon|shmem) '
}

read_processes() { # outside containers: all of them, or (where systemd keeps units on cgroup v2) the daemons only
  local daemons='^(dockerd|containerd|containerd-shim.*|docker-containerd.*|docker-proxy|rootlesskit)$' outside
  if [ -z "$one" ] && [ -d "$memory/system.slice" ]; then
    section processes daemons
    outside=$(grep -slE "$daemons" /proc/[0-9]*/comm)
  else
    section processes all
    outside=$(grep -sLF "${ids:-no container}" /proc/[0-9]*/cgroup)
  fi
  [ -z "$outside" ] && return
  outside=${outside//\/cgroup/} outside=${outside//\/comm/}
  # shellcheck disable=SC2046,SC2086 # one word a file
  grep -sHE '^Pss|^SwapPss' $(printf '%s/smaps_rollup ' $outside)
  section comm
  # shellcheck disable=SC2046,SC2086
  grep -sH '' $(printf '%s/comm ' $outside)
  section process-cgroups
  # shellcheck disable=SC2046,SC2086
  [ -z "$one" ] && grep -sH '^0::' $(printf '%s/cgroup ' $outside)
}

read_kernel_log() { # lines of the OOM killer, of this boot (0) and the one before (-1)
  # shellcheck disable=SC2016 # an awk program
  local keep='/oom-kill:|invoked oom-killer|Killed process|memory: usage|\[ *[0-9]+\] +[0-9]+ +[0-9]+ +[0-9]+ +[0-9]+ +/ {print} END {print "@lines " NR}' boot
  if [ -d /run/systemd/journal ] && command -v journalctl >/dev/null; then
    for boot in -1 0; do
      section kernel-log journal "$boot"
      quiet timeout 5 journalctl -k -b "$boot" -o short-iso -q --no-pager | awk "$keep" | tail -n 600
    done
  else
    section kernel-log dmesg 0
    { quiet dmesg --time-format iso || quiet dmesg; } | awk "$keep" | tail -n 600
  fi
}

disk_usage() { # $1 what it is about, $2 the query; the last line says what was asked, and the HTTP status (000: no answer in time)
  quiet curl -s -g -m "$patience" -w "\n@asked $1 %{http_code}\n" --unix-socket "$socket" "http://engine/system/df$2"
}

read_disk() { # from engine 23 on the volumes, which can be slow, are asked for on their own
  local volumes=''
  [ -n "$major" ] || return
  if [ "$major" -lt 23 ]; then disk_usage all ''; return; fi
  exec {volumes}< <(disk_usage volumes '?type=volume')
  disk_usage images '?type=image&type=build-cache'
  cat <&"$volumes"
}

read_logs() {
  if [ -r "$root/containers" ]; then section logs; else section logs denied; return; fi
  quiet stat -c '%s %n' "$root"/containers/*/*-json.log* "$root"/containers/*/local-logs/*
}

main() {
  local major='' ids='' inspected='' inspect='' dir='' memory='' log='' disk=''
  section who "$UID" "$(uname -n)" "$(uname -r)" "${EPOCHSECONDS:-$(date +%s)}"
  find_socket
  read_mounts
  section view "${self:--}" "${nested:--}"
  if [ "$mode" = full ]; then exec {log}< <(read_kernel_log); fi
  read_engine
  if [ "$mode" = full ]; then exec {disk}< <(read_disk); fi
  read_cgroups
  section meminfo
  cat /proc/meminfo
  if [ "$mode" = full ]; then
    read_processes
    section vmstat
    quiet grep -E '^(oom_kill|pswpin|pswpout|pgmajfault|nr_zspages|workingset_refault[a-z_]*) ' /proc/vmstat
    section pressure
    quiet grep -H '' /proc/pressure/*
    section boot "$(quiet cat /proc/sys/kernel/random/boot_id)" "$(quiet cut -d' ' -f1 /proc/uptime)"
    section filesystems
    quiet stat -f -c '%S %b %f %a %i %n' "$root" /
    read_logs
    if [ -n "$inspect" ]; then section inspect; cat <&"$inspect"; fi
    cat <&"$log"
    section disk
    cat <&"$disk"
  fi
  section end
}

# 50 containers are 300 kB of JSON, and a tenth of it packed.
if command -v gzip >/dev/null; then main | gzip -1; else main; fi
