"""The scripts that change containers. Constant text; everything variable is an argument."""

from __future__ import annotations

_HEAD = r"""
export LC_ALL=C PATH="$PATH:/usr/local/bin:/snap/bin" COMPOSE_ANSI=never COMPOSE_PROGRESS=plain
socket=$1; shift
[ -n "$socket" ] && export DOCKER_HOST="unix://$socket"
"""

# $2 project, $3 number of words of the compose call, those words, services
CREATE = (
    _HEAD
    + r"""
project=$1 n=$2; shift 2
docker compose "${@:1:n}" up --no-start --no-recreate --no-build --pull never "${@:n+1}" >&2 || exit $?
docker ps -a --no-trunc --filter "label=com.docker.compose.project=$project" \
  --filter label=com.docker.compose.oneoff=False --format '@@created {{.Label "com.docker.compose.service"}} {{.ID}}'
"""
)

# $2 verb words (one argument each up to --), then container ids: one process each, side by side
EACH = (
    _HEAD
    + r"""
verb=(); while [ "$1" != -- ]; do verb+=("$1"); shift; done; shift
printf '@@since %s\n' "$EPOCHREALTIME"
one() {
  local said rc=0; said=$(docker "${verb[@]}" "$1" 2>&1 </dev/null) || rc=$?
  [ $rc -ne 0 ] || said=
  printf '@@each %s %s %s\n' "$1" "$rc" "${said//$'\n'/ }"
}
for id; do one "$id" & done
wait
exit 0
"""
)

# $2 project, then triples fact, subject, value
GUARDS = (
    _HEAD
    + r"""
project=$1; shift
have=; moved() { printf 'moved: %s %s was %s, is %s\n' "$1" "$2" "$3" "${4:-gone}" >&2; exit 86; }
while [ $# -ge 3 ]; do
  case $1 in
    container-id)
      [ -n "$have" ] || have=$(docker ps -a --no-trunc --filter "label=com.docker.compose.project=$project" \
        --filter label=com.docker.compose.oneoff=False --format '{{.Label "com.docker.compose.service"}} {{.ID}};')
      now=${have#*"$2 "}; [ "$now" != "$have" ] || now=; now=${now%%;*}
      [ "$now" = "$3" ] || moved "$1" "$2" "$3" "$now" ;;
    file-hash)
      now=$(eval "cat -- $2" 2>/dev/null | sha256sum); now=${now%% *}
      [ "$now" = "$3" ] || moved "$1" "the compose file" "$3" "$now" ;;
    *) moved "$1" "$2" "$3" "a fact that opsctl cannot read" ;;
  esac
  shift 3
done
exit 0
"""
)

# The mark holds for this start of this container only: what a `then` step did may be gone after the next.
_REMEMBER = r"""
remember() {
  [ -n "$mark" ] || return 0
  local started; started=$(docker container inspect --format '{{.State.StartedAt}}' "$id") || return 0
  # Without the mark the step is owed once more, which is no reason to call it failed.
  (umask 002; mkdir -p "$state/then" && printf '%s %s %s\n' "$mark" "$id" "$started" \
    >"$state/then/$service") 2>/dev/null
  return 0
}
"""

# $2 state folder, $3 service, $4 mark, $5 container, then argv
THEN_COMMAND = (
    _HEAD
    + _REMEMBER
    + r"""
state=$1 service=$2 mark=$3 id=$4; shift 4
docker exec -i "$id" "$@" </dev/null 2>&1 || exit $?
remember
"""
)

# $2 state folder, $3 service, $4 mark, $5 container, $6 where the SQL is: stdin, host or container, $7 its path there.
# The password is read from the container's own environment, inside the container.
THEN_SQL = (
    _HEAD
    + _REMEMBER
    + r"""
state=$1 service=$2 mark=$3 id=$4 where=$5 path=$6
psql='export PGPASSWORD="${POSTGRES_PASSWORD:-$(cat "${POSTGRES_PASSWORD_FILE:-/dev/null}" 2>/dev/null)}"
export PGOPTIONS="-c client_min_messages=warning"
exec psql -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "${PGPORT:-5432}" -U "${POSTGRES_USER:-postgres}" \
  -d "${POSTGRES_DB:-${POSTGRES_USER:-postgres}}" -f "$1"'
case $where in
  stdin) docker exec -i "$id" sh -c "$psql" sh - 2>&1 ;;
  host)
    [ -r "$path" ] || { echo "$path: cannot be read on the droplet"; exit 66; }
    docker exec -i "$id" sh -c "$psql" sh - <"$path" 2>&1 ;;
  *) docker exec -i "$id" sh -c "$psql" sh "$path" </dev/null 2>&1 ;;
esac || exit $?
remember
"""
)

# pairs: container id, pid
USAGE = r"""
value() { local k v; while read -r k v; do [ "$k" != "$1" ] || { printf %s "$v"; return; }; done <"$2"; printf 0; }
while [ $# -ge 2 ]; do
  id=$1 pid=$2 used= cache=; shift 2
  while IFS=: read -r _ kind path; do
    case ,$kind, in
      *,memory,*) dir=/sys/fs/cgroup/memory$path file=memory.usage_in_bytes row=total_inactive_file ;;
      ,,) dir=/sys/fs/cgroup$path file=memory.current row=inactive_file ;;
      *) continue ;;
    esac
    [ ! -r "$dir/$file" ] || { used=$(<"$dir/$file"); cache=$(value "$row" "$dir/memory.stat"); }
  done 2>/dev/null <"/proc/$pid/cgroup"
  [ -z "$used" ] || printf '@@usage %s %s\n' "$id" "$((used > cache ? used - cache : used))"
done
exit 0
"""
