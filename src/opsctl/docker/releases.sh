# Releases on the droplet: $state/releases/<id>/{meta.json,status,images,files,config.json,blobs/N} and `current`.
# Everything in it is its owner's alone, for env files and the resolved configuration hold secrets.
_sha() { local sum; sum=$(sha256sum <"$1" 2>/dev/null) && printf %s "${sum%% *}"; }
releases_list() {
  local root=$1/releases dir current path
  [ -d "$root" ] || return 0
  current=$(cat "$root/current" 2>/dev/null)
  printf 'current %s\nback %s\n' "$current" "$(cat "$root/back" 2>/dev/null)"
  for dir in "$root"/[0-9]*/; do
    dir=${dir%/}; [ -e "$dir/meta.json" ] || continue
    printf 'release %s %s\nmeta %s\n' "${dir##*/}" "$(cat "$dir/status" 2>/dev/null)" "$(cat "$dir/meta.json")"
    sed 's/^/image /' "$dir/images" 2>/dev/null; sed 's/^/file /' "$dir/files" 2>/dev/null
    [ "${dir##*/}" = "$current" ] || continue
    while IFS=$'\t' read -r _ _ _ _ path; do printf 'now %s\t%s\n' "$(_sha "$path")" "$path"; done <"$dir/files"
  done
}
# $1 state, $2 id, $3 status, $4 meta
release_begin() {
  local dir=$1/releases/$2
  (umask 077; mkdir -p "$dir" && chmod 700 "$1/releases" && printf '%s\n' "$4" >"$dir/meta.json.part" &&
    printf '%s\n' "$3" >"$dir/status" && mv -f "$dir/meta.json.part" "$dir/meta.json" && sync "$dir/meta.json")
}
# $1 state, $2 id, $3 project, $4 number of compose words, those words, pairs kind path: what is there now, whole
release_keep() {
  local dir=$1/releases/$2 project=$3 n=$4 call kind path number=0 row service ref image digest repository=opsctl-release/$2
  shift 4; call=("${@:1:n}"); shift "$n"
  umask 077
  mkdir -p "$dir/blobs" && : >"$dir/files.part" && : >"$dir/images.part" || return 1
  while [ $# -ge 2 ]; do
    kind=$1 path=$2; shift 2
    [ -f "$path" ] && [ "$(stat -Lc %s -- "$path")" -le 1048576 ] || continue
    cat -- "$path" >"$dir/blobs/$number" || return 1
    printf '%s\t%s\t%s\t%s\t%s\n' "$number" "$kind" "$(stat -Lc %a -- "$path")" "$(_sha "$dir/blobs/$number")" "$path" \
      >>"$dir/files.part" || return 1
    number=$((number + 1))
  done
  while IFS=$'\t' read -r row service; do
    [ -n "$row" ] || continue
    # Not what `docker ps` shows: that is an id once the tag means another image.
    read -r image ref < <(docker container inspect --format '{{.Image}} {{.Config.Image}}' "$row") || continue
    [ -n "$image" ] && [ -n "$ref" ] || continue  # somebody is creating it just now
    digest=$(docker image inspect --format '{{join .RepoDigests ","}}' "$image" 2>/dev/null)
    docker tag "$image" "$repository:$service" || return 1
    printf '%s\t%s\t%s\t%s\n' "$service" "$ref" "$image" "$digest" >>"$dir/images.part"
  done < <(docker ps -a --no-trunc --filter "label=com.docker.compose.project=$project" \
    --filter label=com.docker.compose.oneoff=False \
    --format '{{.ID}}	{{.Label "com.docker.compose.service"}}')
  docker compose "${call[@]}" config >"$dir/config.yml" 2>/dev/null
  mv -f "$dir/files.part" "$dir/files" && mv -f "$dir/images.part" "$dir/images" || return 1
  sync "$dir/files" "$dir/images" 2>/dev/null
  return 0
}
# $1 state, $2 id: from now on this is what runs
release_done() {
  (umask 077; printf 'done\n' >"$1/releases/$2/status" && printf '%s\n' "$2" >"$1/releases/current.part" &&
    mv -f "$1/releases/current.part" "$1/releases/current" && sync "$1/releases/current" && rm -f "$1/releases/back")
}
# $1 state, $2 id and what must be started anew: a rollback to it has begun
release_back() {
  (umask 077; printf '%s\n' "$2" >"$1/releases/back.part" && mv -f "$1/releases/back.part" "$1/releases/back" &&
    sync "$1/releases/back")
}
# $1 state, $2 how many to keep: unfinished ones and the oldest finished ones go, with their tags; never the current
releases_prune() {
  local root=$1/releases dir id current kept=0 tag back= status
  current=$(cat "$root/current" 2>/dev/null)
  [ ! -e "$root/back" ] || read -r back _ <"$root/back"
  while read -r dir; do
    id=${dir##*/}
    [ "$id" != "$current" ] && [ "$id" != "$back" ] || { kept=$((kept + 1)); continue; }
    status=$(cat "$dir/status" 2>/dev/null)
    if [ "$status" = done ]; then kept=$((kept + 1)); [ "$kept" -gt "$2" ] || continue; fi
    for tag in $(docker image ls --format '{{.Repository}}:{{.Tag}}' "opsctl-release/$id"); do
      docker rmi "$tag" >/dev/null 2>&1
    done
    rm -rf -- "$dir"; printf '@@pruned %s %s\n' "$id" "$status"
  done < <(printf '%s\n' "$root"/[0-9]*/ | sed 's#/$##' | sort -r)
}
