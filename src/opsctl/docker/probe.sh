# The remote loop that asks services until they answer: no process per HTTP or TCP probe.
# A worker per service asks and sleeps without forking; the engine's event stream tells at once what died, ran out
# of memory or was found unhealthy. Everything meets in one pipe, and only changes are printed.
export LC_ALL=C PATH="$PATH:/usr/local/bin:/snap/bin"
trap '' PIPE
interval=$1 since=$2 settle=$3 socket=$4 direct=$5 grace=$6; shift 6
[ -n "$socket" ] && export DOCKER_HOST="unix://$socket"
[ -n "$since" ] || since=$EPOCHREALTIME
exec 8<> <(:)   # never readable: `read -t` on it is a sleep that forks nothing
began=${EPOCHREALTIME/./}; began=$((began / 1000))
available() { local w v; while read -r w v _; do [ "$w" != MemAvailable: ] || { printf '@@available %s\n' "$v"; break; }; done </proc/meminfo; }
now() { local t=${EPOCHREALTIME/./}; now=$((t / 1000 - began)); }
say() { local text=${3//$'\n'/ }; printf '@@probe %s %s %s\n' "$1" "$2" "${text:0:300}"; }

declare -A service_of state_of watched
ids=() names=()
n=$1; shift
while [ "$n" -gt 0 ]; do service_of[$2]=$1 watched[$1]=1; ids+=("$2"); shift 2; n=$((n - 1)); done
declare -A id within oneshot tolerant http_port http_path status tcp sql proofs commands health
list() { local k=$1; local -n to=$2; shift 2; to=(); while [ "$k" -gt 0 ]; do to+=("$1"); shift; k=$((k - 1)); done; }
n=$1; shift
while [ "$n" -gt 0 ]; do
  s=$1; names+=("$s") ids+=("$2"); id[$s]=$2 service_of[$2]=$s oneshot[$s]=$3 tolerant[$s]=$4 within[$s]=$5
  http_port[$s]=$6 http_path[$s]=$7 status[$s]=$8 tcp[$s]=$9 sql[$s]=${10}; shift 10
  for kind in proofs commands health; do
    k=$1; shift; list "$k" words "$@"; shift "$k"; declare -n slot=$kind
    # Words are kept in one string, quoted so that bash itself can take it apart again.
    slot[$s]=${words[*]@Q}; unset -n slot
  done
  n=$((n - 1))
done
declare -A address started left sick

look() {
  # `index` makes every version of the CLI read the raw answer, where a missing health check is not an error.
  docker container inspect --format '{{.Id}}|{{.State.Status}}|{{.State.ExitCode}}|{{.State.OOMKilled}}|{{with index .State "Health"}}{{.Status}}{{end}}|{{.State.StartedAt}}|{{.HostConfig.NetworkMode}}|{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}|{{range $p, $b := .NetworkSettings.Ports}}{{range $b}}{{$p}}={{.HostIp}}={{.HostPort}} {{end}}{{end}}|{{.HostConfig.RestartPolicy.Name}}' "${ids[@]}" 2>/dev/null
}
target() { # service, container port: where to connect
  local s=$1 port=$2 each
  for each in ${left[$s]}; do
    case $each in
      "$port/tcp=::="*) ;;
      "$port/tcp="*)
        each=${each#*=}; published_host=${each%=*} published_port=${each##*=}
        case $published_host in 0.0.0.0 | '') published_host=127.0.0.1 ;; esac
        return 0 ;;
    esac
  done
  published_host= published_port=
}
connect() { { exec 9<>"/dev/tcp/$1/$2"; } 2>/dev/null; }

try_http() {
  local host port line rest words
  target "$1" "${http_port[$1]}"
  if [ -n "$published_port" ]; then host=$published_host port=$published_port; else host=${address[$1]} port=${http_port[$1]}; fi
  [ -n "$host" ] || { detail="no address for port ${http_port[$1]}"; return 1; }
  connect "$host" "$port" || { detail="nothing listens on port ${http_port[$1]}"; return 1; }
  printf 'GET %s HTTP/1.1\r\nHost: %s:%s\r\nUser-Agent: opsctl\r\nAccept: */*\r\nConnection: close\r\n\r\n' \
    "${http_path[$1]}" "$host" "$port" >&9 2>/dev/null
  # The rest is read too: hanging up on an answer makes servers write tracebacks into their logs.
  line= rest=; IFS= read -r -t 5 line <&9 && IFS= read -r -d '' -n 4096 -t 2 rest <&9; exec 9>&- 9<&-
  read -ra words <<<"${line%$'\r'}"
  case ${words[0]:-} in
    HTTP/*) ;;
    '') detail="nothing answers on port ${http_port[$1]} yet"; return 1 ;;
    *) detail="port ${http_port[$1]} does not speak HTTP"; return 1 ;;
  esac
  detail="HTTP ${words[1]} from :${http_port[$1]}${http_path[$1]}"
  if [ -n "${status[$1]}" ]; then [ "${words[1]}" = "${status[$1]}" ]; else [[ ${words[1]} == 2* ]]; fi
}
try_tcp() { # service, port
  detail="nothing listens on port $2"
  if [ "$direct" = 1 ] && [ -n "${address[$1]}" ]; then connect "${address[$1]}" "$2" || return 1; exec 9>&- 9<&-
  else
    target "$1" "$2"; [ -n "$published_port" ] || { detail="port $2 is not published"; return 1; }
    connect "$published_host" "$published_port" || return 1
    # Docker's proxy accepts before the service does, and hangs up when nobody is behind it.
    IFS= read -r -t 0.15 -n 1 <&9; local rc=$?; exec 9>&- 9<&-; [ $rc -ne 1 ] || return 1
  fi
  detail="port $2 accepts"
}
run_in() { # service, argv: inside the container; its last line is the detail
  local s=$1 out rc=0; shift
  out=$(timeout 15 docker exec "${id[$s]}" "$@" 2>&1 </dev/null) || rc=$?
  out=${out%$'\n'}; detail=${out##*$'\n'}; [ -n "$detail" ] || detail="exit status $rc"
  return $rc
}
# The password is read from the container's own environment, inside the container.
PSQL='export PGPASSWORD="${POSTGRES_PASSWORD:-$(cat "${POSTGRES_PASSWORD_FILE:-/dev/null}" 2>/dev/null)}" PGCONNECT_TIMEOUT=3
exec psql -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "${PGPORT:-5432}" -U "${POSTGRES_USER:-postgres}" \
  -d "${POSTGRES_DB:-${POSTGRES_USER:-postgres}}" -c "$1"'
try_sql() {
  # Asking costs a process in the container: once a second, or as soon as the port answers from outside.
  if [ -z "${tcp[$1]}" ] && ! try_tcp "$1" 5432; then now; [ $((now - last_sql)) -ge 1000 ] || return 1; fi
  now; last_sql=$now
  run_in "$1" sh -c "$PSQL" sh "${sql[$1]}" || return 1
  detail="SQL answers"
}
try_health() {
  local -a words; eval "words=(${health[$1]})"
  case ${words[0]} in
    CMD-SHELL) run_in "$1" sh -c "${words[1]}" ;;
    *) run_in "$1" "${words[@]:1}" ;;
  esac
}
try_all() {
  local asked= good=
  [ -z "${oneshot[$1]}" ] || { detail="still working"; return 1; }   # its exit is what counts, and the engine tells it
  if [ -n "${tcp[$1]}" ]; then asked=1; try_tcp "$1" "${tcp[$1]}" || return 1; fi
  if [ -n "${http_path[$1]}" ]; then asked=1; try_http "$1" || return 1; fi
  good=$detail
  if [ -n "${sql[$1]}" ]; then asked=1 slow=1; try_sql "$1" || return 1; good=$detail; fi
  if [ -n "${commands[$1]}" ]; then
    local -a words; eval "words=(${commands[$1]})"; asked=1 slow=1
    run_in "$1" "${words[@]}" || return 1; good=${words[0]##*/}\ passes
  fi
  if [ -z "$asked" ] && [ -n "${health[$1]}" ]; then slow=1; try_health "$1" || return 1; good="health check passes"; asked=1; fi
  if [ -z "$asked" ]; then now; [ "$now" -ge 1000 ] || { detail="running"; return 1; }; good="running"; fi
  detail=$good
}
remind() { # service, log line: says what is missing unless it is killed first
  printf 'P|%s\n' "$BASHPID"; read -r -t 0.3 -u 8
  printf 'W|%s|waiting|up; the log line "%s" is still missing\n' "$1" "$2"
}
prove() { # service: every proof line must stand in the log since this start; the deadline is the main loop's affair
  local s=$1 line i log reminder; local -a want; eval "want=(${proofs[$s]})"
  [ ${#want[@]} -gt 0 ] || return 0
  exec 7< <(exec docker logs -f --since "${started[$s]}" "${id[$s]}" 2>&1); log=$!
  printf 'P|%s\n' "$log"
  while [ ${#want[@]} -gt 0 ]; do
    for i in "${!want[@]}"; do break; done
    remind "$s" "${want[i]}" & reminder=$!
    until [ -z "${want[i]:-}" ] || ! IFS= read -r line <&7; do
      for k in "${!want[@]}"; do [[ $line != *"${want[k]}"* ]] || unset "want[k]"; done
    done
    kill "$reminder" 2>/dev/null
    [ -z "${want[i]:-}" ] || break
  done
  kill "$log" 2>/dev/null
  for i in "${!want[@]}"; do detail="the log line \"${want[i]}\" did not appear"; return 1; done
}
# A probe that costs a process rests for twice its time; a service that is ready is not left waiting for more than 5 s.
rest_after() { pause=$(($1 * 2)); [ "$pause" -le 5000 ] || pause=5000; printf -v pause %d.%03d $((pause / 1000)) $((pause % 1000)); }  # ms
worker() { # service
  local s=$1 said= detail= slow= last_sql=0 before pause
  printf 'P|%s\n' "$BASHPID"
  while :; do
    now; before=$now
    if try_all "$s"; then
      local passed=$detail
      if prove "$s"; then printf 'W|%s|passed|%s\n' "$s" "${passed//$'\n'/ }"; else printf 'W|%s|timeout|%s\n' "$s" "$detail"; fi
      return
    fi
    now
    if [ -n "${sick[$s]:-}" ] && [ "$now" -ge 1000 ]; then
      printf 'W|%s|unhealthy|Docker says unhealthy; %s\n' "$s" "${detail//$'\n'/ }"; return
    fi
    if [ "$now" -ge "${within[$s]}" ]; then printf 'W|%s|timeout|%s\n' "$s" "${detail//$'\n'/ }"; return; fi
    [ "$detail" = "$said" ] || { said=$detail; printf 'W|%s|waiting|%s\n' "$s" "${detail//$'\n'/ }"; }
    if [ -n "$slow" ] && [ $((now - before)) -gt 40 ]; then rest_after $((now - before)); else pause=$interval; fi
    read -r -t "$pause" -u 8
  done
}
filters=(); for each in "${ids[@]}"; do filters+=(--filter "container=$each"); done
# Everything meets in one pipe that is read without a time limit: `read -t` loses what it has read of a line when the
# time is up in the middle of it. A tick twice a second takes the limit's place.
tick() { printf 'P|%s\n' "$BASHPID"; while read -r -t 0.5 -u 8; [ $? -gt 128 ]; do printf 'T|\n' || exit 0; done; }
# The client writes an event piece by piece, and a verdict that fell in between would be lost: only whole lines go on.
listen() {
  local line
  exec 6< <(exec docker events --since "$since" --filter type=container "${filters[@]}" \
    --format 'E|{{.Actor.ID}}|{{index .Actor.Attributes "exitCode"}}|{{.Action}}')
  printf 'P|%s\n' "$!"
  while IFS= read -r line <&6; do
    case $line in *'|exec_'*) ;; *) printf '%s\n' "$line" || break ;; esac
  done
  printf 'X|\n'
}
feed() {
  listen 2>/dev/null & tick 2>/dev/null &
  for each in "${asked[@]}"; do worker "$each" 2>/dev/null & done
  wait
}
pids=() pending=0 asked=() failed=
end() { [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null; }
trap end EXIT; trap 'exit 143' TERM INT HUP
settled() { # service, state, detail
  [ "${state_of[$1]:-}" != done ] || return 0
  if [ -z "${watched[$1]:-}" ]; then pending=$((pending - 1)); state_of[$1]=done; fi
  # The memory comes before the verdict: the next phase may be judged by it as soon as the verdict is read.
  [ "$2" != passed ] || available
  say "$1" "$2" "$3"
  [ "$2" = passed ] || [ -n "${tolerant[$1]:-}" ] || failed=1
}
# Where a cgroup runs out, cgroup v1 tells all cgroups below it, and the engine marks and reports each of their containers:
# of one that ended as it was told the mark says nothing, and of one that runs its own counter knows better.
killed() { [ "$1" = true ] && [ "$2" != 0 ] && [ "$2" != 143 ]; } # the mark, exit code
spared() { # id: whether the kernel killed none of its processes, as far as that can be told
  local file key value
  for file in /sys/fs/cgroup/memory/{docker/"$1",system.slice/docker-"$1".scope}/memory.oom_control; do
    [ ! -r "$file" ] || while read -r key value; do [ "$key $value" != 'oom_kill 0' ] || return 0; done <"$file"
  done 2>/dev/null
  return 1
}
declare -A seen policy
while IFS='|' read -r i state code oom health start mode ips ports restart; do
  s=${service_of[${i:--}]:-}; [ -n "$s" ] || continue   # an engine that is gone answers with an empty line
  seen[$s]=1 started[$s]=$start left[$s]=$ports policy[$s]=$restart
  address[$s]=${ips%% *}; [ "$mode" != host ] || address[$s]=127.0.0.1
  [ -z "${watched[$s]:-}" ] || [ "$state" != running ] || continue
  case $state in
    running)
      # What was unhealthy before we came has a second to prove Docker's verdict outdated.
      [ "$health" != unhealthy ] || sick[$s]=1
      pending=$((pending + 1)); asked+=("$s") ;;
    exited | dead)
      pending=$((pending + 1))
      if [ -n "${oneshot[$s]:-}" ] && [ "$code" = 0 ]; then settled "$s" passed "done, exit code 0"
      elif killed "$oom" "$code"; then settled "$s" oom "killed for memory, exit code $code"
      else settled "$s" exited "exit code $code"; fi ;;
    restarting) pending=$((pending + 1)); settled "$s" restarting "exit code $code" ;;
    *) pending=$((pending + 1)); settled "$s" exited "$state" ;;
  esac
done < <(look)
for s in "${service_of[@]}"; do [ -n "${seen[$s]:-}" ] || { pending=$((pending + 1)); settled "$s" gone "the container is not there any more"; }; done
[ "$pending" -gt 0 ] || [ "$settle" != 0 ] || [ -n "$failed" ] || exit 0
died() { # service, exit code
  local oom status start
  IFS='|' read -r oom status start < <(docker container inspect --format \
    '{{.State.OOMKilled}}|{{.State.Status}}|{{.State.StartedAt}}' "${id[$1]:-}" 2>/dev/null)
  # A busy engine tells the end of the life before this one after we have seen the new one begin.
  [ "$status" != running ] || [ "$start" != "${started[$1]:-}" ] || return 0
  if [ "$2" = 0 ] && [ -n "${oneshot[$1]:-}" ]; then settled "$1" passed "done, exit code 0"
  elif killed "$oom" "$2"; then settled "$1" oom "killed for memory, exit code $2"
  elif [ "${policy[$1]}" = no ] || [ -z "${policy[$1]}" ]; then settled "$1" exited "exit code $2"
  else settled "$1" restarting "exit code $2, and its restart policy starts it again"; fi
}
event() { # id, exit code, action
  local s=${service_of[$1]:-}; [ -n "$s" ] || return 0
  case $3 in
    die) died "$s" "$2" ;;
    oom) spared "$1" || settled "$s" oom "killed for memory" ;;
    destroy) settled "$s" gone "the container was removed" ;;
    'health_status: unhealthy') settled "$s" unhealthy "Docker's health check says unhealthy" ;;
    'health_status: healthy')
      [ -n "${tcp[$s]:-}${http_path[$s]:-}${sql[$s]:-}${commands[$s]:-}${proofs[$s]:-}" ] || [ -n "${watched[$s]:-}" ] ||
        settled "$s" passed "Docker's health check says healthy" ;;
  esac
}
declare -A last
until_ms=
exec 3< <(feed)
while [ -z "$failed" ]; do
  now
  if [ "$pending" -le 0 ]; then
    [ -n "$until_ms" ] || until_ms=$((now + ${settle%.*} * 1000))
    [ "$now" -lt "$until_ms" ] || break
  fi
  IFS='|' read -r kind a b c <&3 || kind=X
  case $kind in
    P) pids+=("$a") ;;
    E) event "$a" "$b" "$c" ;;
    W) if [ "$b" != waiting ]; then settled "$a" "$b" "$c"
       elif [ "${state_of[$a]:-}" != done ]; then last[$a]=$c; say "$a" waiting "$c"; fi ;;
    X) for s in "${asked[@]}" "${!watched[@]}"; do settled "$s" gone "the engine does not answer any more"; done; failed=1 ;;
  esac
  now
  for s in "${asked[@]}"; do   # a probe that hangs must not outlive its deadline
    more=700; [ -n "${last[$s]:-}" ] || more=$grace
    [ "${state_of[$s]:-}" = done ] || [ "$now" -lt $((within[$s] + more)) ] || settled "$s" timeout "${last[$s]:-no answer}"
  done
done
available
exit 0
