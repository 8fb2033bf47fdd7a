# What a deploy decides from. The files to come are laid over the real ones in a mount namespace of this script's own,
# and in memory: compose sees the droplet as it will be, and nothing on it is changed.
export LC_ALL=C PATH="$PATH:/usr/local/bin:/snap/bin" COMPOSE_ANSI=never COMPOSE_PROGRESS=plain
state=$1 socket=$2 folder=$3 ref=$4 fetch=$5 release=$6 kinds=$7 facts=$8 inner=$9; shift 9
[ -n "$socket" ] && export DOCKER_HOST="unix://$socket"
words=(); n=$1; shift; while [ "$n" -gt 0 ]; do words+=("$1"); shift; n=$((n - 1)); done
part() { local name=$1; shift; printf '@@survey %s\n' "$name"; "$@" 2>&1; printf '\n@@survey rc %s\n' "$?"; }
for where in /dev/shm /run /tmp; do stage=$(mktemp -d "$where/opsctl.XXXXXX" 2>/dev/null) && break; done
trap 'rm -rf -- "$stage" "$stage.git"' EXIT
umask 077; mkdir "$stage/r"; root=$stage/r
stage_tar() { tar -x -C "$root" -f - 2>&1; }
stage_git() {
  local top hash remote now one path known
  command -v git >/dev/null || { echo 'git is not installed on the droplet'; return 3; }
  git() { command git -c safe.directory='*' -C "$top" "$@"; }
  top=$folder; top=$(git rev-parse --show-toplevel 2>/dev/null) || { echo "$folder is not in a git checkout"; return 3; }
  now=$(git rev-parse HEAD) || return 3
  printf 'top %s\nfrom %s\n' "$top" "$now"
  remote=$(git remote | head -1)
  export GIT_TERMINAL_PROMPT=0 GIT_SSH_COMMAND='ssh -oBatchMode=yes -oConnectTimeout=15'
  mkdir -p "$stage.git"
  known=$(git rev-parse --git-path objects); case $known in /*) ;; *) known=$top/$known ;; esac
  if [ "$fetch" = fetch ] && [ -n "$remote" ] &&
    ! { [[ $ref =~ ^[0-9a-f]{7,40}$ ]] && git cat-file -e "$ref^{commit}" 2>/dev/null; }; then
    # Into a place of its own: a look must not change the checkout.
    export GIT_OBJECT_DIRECTORY=$stage.git GIT_ALTERNATE_OBJECT_DIRECTORIES=$known
    timeout 90 git -c safe.directory='*' -C "$top" -c fetch.writeCommitGraph=false fetch -q --no-tags --no-write-fetch-head --refmap= "$remote" "$ref" 2>"$stage/said" ||
      { one=$(tail -1 "$stage/said"); printf 'git fetch %s %s: %s\n' "$remote" "$ref" "${one:-it failed}"; return 4; }
    while read -r hash path; do case $path in "refs/tags/$ref^{}") one=$hash; break ;; *) one=${one:-$hash} ;; esac
    done < <(timeout 60 git -c safe.directory='*' -C "$top" ls-remote "$remote" "refs/heads/$ref" "refs/tags/$ref" "refs/tags/$ref^{}" | sort -k2)
    hash=$(git rev-parse -q --verify "${one:-$ref}^{commit}") || { echo "there is no $ref in $remote"; return 4; }
  else
    hash=$(git rev-parse -q --verify "$ref^{commit}") || { echo "there is no $ref in $top"; return 4; }
  fi
  printf 'commit %s\nremote %s\nsubject %s\n' "$hash" "$remote" "$(git log -1 --format=%s "$hash")"
  # Dirty is what is neither as it was nor as it will be: a checkout that was cut short is no reason to stop.
  while IFS= read -r -d '' one; do
    path=${one:3}
    [ "$(git hash-object -- "$path" 2>/dev/null)" = "$(git rev-parse -q --verify "$hash:$path")" ] && continue
    printf 'dirty %s\n' "$path"
  done < <(git status --porcelain -z --untracked-files=no --no-renames)
  { git diff --name-only --no-renames -z "$now" "$hash"
    git status --porcelain -z --untracked-files=no --no-renames | sed -z 's/^...//'; } | sort -zu >"$stage/paths"
  export GIT_INDEX_FILE=$stage.git/index
  git read-tree "$hash" || return 1
  while IFS= read -r -d '' path; do
    if ! git cat-file -e "$hash:$path" 2>/dev/null; then
      mkdir -p "$root$top/$(dirname -- "$path")"; mknod "$root$top/$path" c 0 0 2>/dev/null; continue
    fi
    if [ -e "$top/$path" ]; then
      [ "$(git hash-object -- "$path")" != "$(git rev-parse "$hash:$path")" ] || continue
      git cat-file -e "$now:$path" 2>/dev/null || printf 'dirty %s\n' "$path"
    fi
    git checkout-index -f --prefix="$root$top/" -- "$path" || return 1
  done <"$stage/paths"
  return 0
}
# A release's files of the wanted kinds
stage_release() {
  local number kind mode sha path
  [ -r "$state/releases/$release/files" ] || { echo "the release $release is not there"; return 3; }
  while IFS=$'\t' read -r number kind mode sha path; do
    case ",$kinds," in *",$kind,"*) ;; *) continue ;; esac
    mkdir -p "$root$(dirname -- "$path")" && cp -- "$state/releases/$release/blobs/$number" "$root$path" || return 1
  done <"$state/releases/$release/files"
}
# What differs between a release's env files that are not to come back, and those that are there now.
kept_envs() {
  local number kind mode sha path
  while IFS=$'\t' read -r number kind mode sha path; do
    [ "$kind" = env ] && [ ! -e "$root$path" ] && [ "$(_sha "$path")" != "$sha" ] || continue
    printf 'file\t%s\t%s\t%s\t%s\t%s\t%s\n' "$(_sha "$path")" "$sha" "$mode" "$(base64 -w0 "$path" 2>/dev/null)" \
      "$(base64 -w0 "$state/releases/$release/blobs/$number")" "$path"
  done <"$state/releases/$release/files"
}
files() {
  local path old new
  while IFS= read -r path; do
    path=/${path#./} old= new=
    case $path in *.env | */.env*) old=$(base64 -w0 "$path" 2>/dev/null) new=$(base64 -w0 "$root$path" 2>/dev/null) ;; esac
    [ -f "$root$path" ] && kind=file || kind=gone
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$kind" "$(_sha "$path")" "$([ $kind = gone ] || _sha "$root$path")" \
      "$(stat -Lc %a -- "$path" 2>/dev/null)" "$old" "$new" "$path"
  done < <(cd "$root" && find . ! -type d)
}
# What a login that is not root would have to write and may not, or could not keep because it may not be read.
locked() {
  local path folder=$folder
  [ "$(id -u)" -ne 0 ] || return 0
  id -un
  [ -z "$ref" ] || { path=$(git -c safe.directory='*' -C "$folder" rev-parse --absolute-git-dir 2>/dev/null) && [ ! -w "$path" ] && printf '%s\n' "$path"; }
  while IFS= read -r path; do
    path=/${path#./}
    if [ -e "$path" ] && [ ! -r "$path" ]; then printf '%s\n' "$path"; continue; fi
    [ "$(_sha "$path" 2>/dev/null)" != "$(_sha "$root$path" 2>/dev/null)" ] || continue
    folder=$(readlink -f -- "$path") || folder=$path
    while folder=${folder%/*}; [ -n "$folder" ] && [ ! -d "$folder" ]; do :; done
    [ -w "${folder:-/}" ] || printf '%s\n' "${folder:-/}"
  done < <(cd "$root" && find . ! -type d)
}
images() { docker image ls -a --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}'; }
volumes() { docker volume ls -q | xargs -r docker volume inspect --format '{{json .}}'; }
# What each container runs with, and what its image brings along.
envs() {
  local row id image
  docker ps -aq --no-trunc --filter label=com.docker.compose.project | xargs -r docker container inspect \
    --format '{{.Id}} {{.Image}} {{json .Config.Env}}' >"$stage/envs"
  cat "$stage/envs"
  while read -r id image row; do printf '%s\n' "$image"; done <"$stage/envs" | sort -u |
    xargs -r docker image inspect --format '{{.Id}} image {{json .Config.Env}}' 2>/dev/null
}
mounts() { docker ps -aq --no-trunc --filter label=com.docker.compose.project | xargs -r docker container inspect --format '{{.Id}} {{json .Mounts}}'; }
if [ "${#words[@]}" -gt 0 ]; then
  exec 20< <(part old docker compose "${words[@]}" config --format json)
  exec 21< <(part oldraw docker compose "${words[@]}" config --no-interpolate --no-normalize --format json)
fi
exec 22< <(part images images) 23< <(part volumes volumes) 24< <(part mounts mounts) 25< <(part envs envs)
[ -z "$ref" ] || (part git stage_git)
[ -z "$release" ] || part back stage_release
[ "$fetch" != push ] || part push stage_tar
part files files
[ -z "$release" ] || part envfiles kept_envs
part locked locked
part releases releases_list "$state"
over=()
while IFS= read -r one; do
  one=/${one#./}; one=${one%/.}
  while [ -n "$one" ] && [ ! -d "$one" ]; do one=${one%/*}; done
  for each in "${over[@]}"; do case $one/ in "$each"/*) continue 2 ;; esac; done
  [ -z "$one" ] || over+=("$one")
done < <(cd "$root" && find . ! -type d -printf '%h\n' | sort -u)
if [ "${#over[@]}" -gt 0 ]; then
  [ "$(id -u)" -eq 0 ] && space=(unshare -m) || space=(unshare -rm)
  part after "${space[@]}" bash -c 'root=$1 n=$2; shift 2
    while [ "$n" -gt 0 ]; do
      mount -t overlay overlay -o "ro,lowerdir=$root$1:$1" "$1" || exit 88; shift; n=$((n - 1)); done
    inner=$1; shift; cd / && exec bash -c "$inner" inner "$@"' over "$root" "${#over[@]}" "${over[@]}" "$inner" "$facts" "$@"
else
  part after bash -c "$inner" inner "$facts" "$@"
fi
for fd in 22 23 24 25; do cat <&"$fd"; done
[ "${#words[@]}" -eq 0 ] || { cat <&20; cat <&21; }
exit 0
