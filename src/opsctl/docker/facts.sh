# Everything `startup` decides from, read at once; changes nothing.
export LC_ALL=C PATH="$PATH:/usr/local/bin:/snap/bin" COMPOSE_ANSI=never COMPOSE_PROGRESS=plain
mark=$1 template=$2 socket=$3 project=$4 state=$5 info=$6; shift 6
files=(); n=$1; shift; while [ "$n" -gt 0 ]; do files+=("$1"); shift; n=$((n - 1)); done
envs=(); n=$1; shift; while [ "$n" -gt 0 ]; do envs+=("$1"); shift; n=$((n - 1)); done
[ -n "$socket" ] && export DOCKER_HOST="unix://$socket"
section() { local name=$1; shift; printf '%s %s\n' "$mark" "$name"; "$@" 2>&1; printf '\n%s rc %s\n' "$mark" "$?"; }
inspect() {
  local ids; ids=$(docker ps -aq --no-trunc 2>&1) || { printf '%s\n' "$ids"; return 1; }
  [ -z "$ids" ] || docker container inspect --format "$template" $ids || true
}
projects() {
  docker ps -a --filter label=com.docker.compose.project --format \
    '{{.Label "com.docker.compose.project"}}|{{.Label "com.docker.compose.project.working_dir"}}|{{.Label "com.docker.compose.project.config_files"}}' |
    sort | uniq -c | sort -rn
}
# The release that a deploy or a rollback began and did not finish; `busy`: somebody has the lease, and is at it.
begun() {
  local releases=$state/releases dir status newest= of=done back= current= busy=
  for dir in "$releases"/[0-9]*/; do
    [ -r "${dir}meta.json" ] || continue
    status=; read -r status <"${dir}status"
    [ "$status" = adopting ] || { newest=$dir of=$status; }
  done
  read -r back _ <"$releases/back"; read -r current <"$releases/current"
  [ -z "$back" ] || { newest=$releases/$back/ of=back; }
  [ "$of" != done ] || return 0
  [ ! -r "$state/lease/stack.lock" ] || flock -s -n "$state/lease/stack.lock" true || busy=busy
  newest=${newest%/}; printf 'begun %s,%s,%s,%s %s\n' "${newest##*/}" "$of" "$current" "$busy" "$(<"$newest/meta.json")"
} 2>/dev/null
machine() {
  printf 'boot %s\n' "$(</proc/sys/kernel/random/boot_id)"; printf 'uptime %s\n' "$(</proc/uptime)"
  cat /proc/meminfo; [ ! -r "$state/boot.json" ] || printf 'boot.json %s\n' "$(<"$state/boot.json")"; begun; cd "$state/then" 2>/dev/null && grep -H '' ./* 2>/dev/null; true
}
client=${DOCKER_CONFIG:-$HOME/.docker}
sockets() {
  local host=${DOCKER_HOST:-}
  if [ -z "$host$DOCKER_CONTEXT" ] && ! grep -qs currentContext "$client/config.json"; then host=unix:///var/run/docker.sock; fi
  printf '%s\n' "${host:-$(docker context inspect --format '{{.Endpoints.docker.Host}}')}"; command -v docker docker-compose; true
}
# Docker's client would start compose twice, once to ask it what it is: where it is known which file the client would
# take, that one is asked. A snap has its own.
compose_at() {
  local each
  case $(command -v docker) in /snap/*) return ;; esac
  ! grep -qs cliPluginsExtraDirs "$client/config.json" || return
  for each in "$client" /usr/local/lib/docker /usr/local/libexec/docker /usr/lib/docker /usr/libexec/docker; do
    [ ! -e "$each/cli-plugins/docker-compose" ] || { call=("$each/cli-plugins/docker-compose"); return; }
  done
}
if ! command -v docker >/dev/null; then section nodocker true; exit 0; fi
exec 10< <(section inspect inspect) 11< <(section info docker info --format "$info")
exec 12< <(section images docker image ls --format '{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}} {{.ID}}' --digests)
work=
if [ ${#files[@]} -eq 0 ]; then
  # Adopt: the labels of what exists say which project, which files, which folder.
  rows=$(projects); printf '%s projects\n%s\n%s rc 0\n' "$mark" "$rows" "$mark"
  while read -r _ row; do
    [ "${row%%|*}" = "${project:-${row%%|*}}" ] || continue
    project=${row%%|*}; row=${row#*|}; work=${row%%|*}
    IFS=, read -ra files <<<"${row#*|}"; break
  done <<<"$rows"
  others=$(printf '%s\n' "$rows" | sed 's/^ *[0-9]* //; s/|.*//' | sort -u | grep -c .)
fi
call=(docker compose); compose_at; call+=(--profile '*'); for f in "${files[@]}"; do call+=(-f "$f"); done
for f in "${envs[@]}"; do call+=(--env-file "$f"); done
[ -n "$project" ] && call+=(-p "$project"); [ -n "$work" ] && call+=(--project-directory "$work")
if [ ${#files[@]} -gt 0 ]; then
  exec 13< <(section config "${call[@]}" config --format json)
  exec 14< <(section dryrun "${call[@]}" --dry-run up --no-start --no-build --pull never)
  if grep -qE 'x-opsctl|^include:|extends:' -- "${files[@]}" 2>/dev/null; then
    exec 15< <(section raw "${call[@]}" config --no-interpolate --no-normalize --format json)
  fi
  dir=${work:-$(dirname -- "${files[0]}")}
  hash=$(cat -- "${files[@]}" "${envs[@]}" "$dir/.env" 2>/dev/null | sha256sum)
  printf '%s call\n%s\n%s\n%s\n%s\n' "$mark" "${hash%% *}" "$project" "$work" "${others:-1}"
  printf '%s\n' "${files[@]}"; printf '%s rc 0\n' "$mark"
fi
section machine machine; section socket sockets
cat <&10; cat <&11; cat <&12
[ ${#files[@]} -gt 0 ] && cat <&13 && cat <&14
[ -e /dev/fd/15 ] && cat <&15
exit 0
