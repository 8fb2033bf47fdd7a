# Run where the files to come are in place: the facts of a start, and what compose makes of each service.
facts=$1; shift
bash -c "$facts" facts "$@"
mark=$1 socket=$3 project=$4; shift 6
files=(); n=$1; shift; while [ "$n" -gt 0 ]; do files+=("$1"); shift; n=$((n - 1)); done
envs=(); n=$1; shift; while [ "$n" -gt 0 ]; do envs+=("$1"); shift; n=$((n - 1)); done
section() { local name=$1; shift; printf '%s %s\n' "$mark" "$name"; "$@" 2>&1; printf '\n%s rc %s\n' "$mark" "$?"; }
call=(docker compose --profile '*'); work=
[ "${#files[@]}" -gt 0 ] || {
  row=$(docker ps -a --filter "label=com.docker.compose.project${project:+=$project}" --format \
    '{{.Label "com.docker.compose.project"}}|{{.Label "com.docker.compose.project.working_dir"}}|{{.Label "com.docker.compose.project.config_files"}}' |
    sort | uniq -c | sort -rn | head -1 | sed 's/^ *[0-9]* //')
  project=${row%%|*}; row=${row#*|}; work=${row%%|*}; IFS=, read -ra files <<<"${row#*|}"
}
for f in "${files[@]}"; do call+=(-f "$f"); done
for f in "${envs[@]}"; do call+=(--env-file "$f"); done
[ -n "$project" ] && call+=(-p "$project"); [ -n "$work" ] && call+=(--project-directory "$work")
# `config --hash` leaves env files out; of the resolved form it says what `up` will say.
hashes() {
  local text; text=$("${call[@]}" config --format json) || return 1
  printf %s "$text" | docker compose --profile '*' -f - --project-directory "${work:-$(dirname -- "${files[0]}")}" \
    ${project:+-p "$project"} config --hash '*'
}
section hashes hashes
section allraw "${call[@]}" config --no-interpolate --no-normalize --format json
exit 0
