"""The scripts of a deploy that change a droplet. Constant text; everything variable is an argument."""

from __future__ import annotations

HEAD = r"""
export LC_ALL=C PATH="$PATH:/usr/local/bin:/snap/bin" COMPOSE_ANSI=never COMPOSE_PROGRESS=plain
socket=$1 state=$2; shift 2
[ -n "$socket" ] && export DOCKER_HOST="unix://$socket"
"""

# $1 release, $2 meta ("" where it was begun before), $3 how many to keep, $4 project, $5 n, words, pairs kind path
# (none: the release is whole already, and in force again)
KEEP = r"""
release=$1 meta=$2 kept=$3 project=$4 n=$5; shift 5; words=("${@:1:n}"); shift "$n"
[ -z "$meta" ] || release_begin "$state" "$release" adopting "$meta" || exit 1
[ $# -eq 0 ] || release_keep "$state" "$release" "$project" "$n" "${words[@]}" "$@" || exit 1
release_done "$state" "$release" || exit 1
releases_prune "$state" "$kept"
exit 0
"""

# $1 release, $2 meta
BEGIN = r"""
release_begin "$state" "$1" begun "$2"
"""

_PLACE = r"""
# $1 folder, made where it is not there: it is whose the one above it is, whoever makes it
folder() {
  [ -n "$1" ] && [ ! -d "$1" ] || return 0
  folder "${1%/*}" && mkdir -- "$1" || return 1
  chown --reference="${1%/*}/" -- "$1" 2>/dev/null
  return 0
}
# $1 staged file, $2 target, $3 mode ("" keeps the one that is there): whole or not at all, its owner kept
place() {
  local target part mode=$3
  target=$(readlink -f -- "$2") || target=$2
  folder "${target%/*}" || return 1
  part=$target.opsctl-part
  (umask 077; cat -- "$1" >"$part") || { rm -f -- "$part"; return 1; }
  if [ -e "$target" ]; then
    chown --reference="$target" -- "$part" 2>/dev/null
    [ -n "$mode" ] || mode=$(stat -c %a -- "$target")
  else
    chown --reference="${target%/*}" -- "$part" 2>/dev/null
  fi
  chmod "${mode:-644}" -- "$part" && { sync -- "$part" 2>/dev/null; mv -f -- "$part" "$target"; }
}
"""

# triples path, digest it had, mode; the files as tar on stdin
PUT = (
    _PLACE
    + r"""
for where in /dev/shm /run /tmp; do stage=$(mktemp -d "$where/opsctl.XXXXXX" 2>/dev/null) && break; done
trap 'rm -rf -- "$stage"' EXIT
(umask 077; tar -x -C "$stage" -f -) || exit 1
all=("$@")
while [ $# -ge 3 ]; do
  now=$(_sha "$1")
  [ "$now" = "$2" ] || [ "$now" = "$(_sha "$stage$1")" ] || { echo "$1 has changed since" >&2; exit 86; }
  shift 3
done
set -- "${all[@]}"
while [ $# -ge 3 ]; do
  mode=$3; [ "$mode" != 0 ] || mode=
  [ "$(_sha "$1")" = "$(_sha "$stage$1")" ] && [ -z "$mode" ] || place "$stage$1" "$1" "$mode" || exit 1
  shift 3
done
exit 0
"""
)

# $1 release, $2 kinds, then the paths to put back
PUT_BACK = (
    _PLACE
    + r"""
folder=$state/releases/$1 kinds=$2; shift 2; wanted=$(printf '%s\n' "$@")
while IFS=$'\t' read -r number kind mode sha path; do
  case ",$kinds," in *",$kind,"*) ;; *) continue ;; esac
  [ "$(grep -Fxc -- "$path" <<<"$wanted")" -gt 0 ] || continue
  [ "$(_sha "$folder/blobs/$number")" = "$sha" ] || { echo "the kept $path is damaged" >&2; exit 1; }
  [ "$(_sha "$path")" = "$sha" ] || place "$folder/blobs/$number" "$path" "$mode" || exit 1
done <"$folder/files"
exit 0
"""
)

# $1 top, $2 commit it was at, $3 commit to be at, $4 remote, $5 ref, then paths that may be overwritten
CHECKOUT = r"""
top=$1 was=$2 want=$3 remote=$4 ref=$5; shift 5; ours=$(printf '%s\n' "$@")
git() { command git -c safe.directory='*' -C "$top" "$@"; }
export GIT_TERMINAL_PROMPT=0 GIT_SSH_COMMAND='ssh -oBatchMode=yes -oConnectTimeout=15'
# Through sudo git leaves root's files in a checkout of somebody's own, who then could no longer use it.
given_back() {
  local owner inside path
  owner=$(stat -c %u:%g -- "$top")
  [ "$(id -u)" = 0 ] && [ "${owner%:*}" != 0 ] || return 0
  inside=$(git rev-parse --absolute-git-dir) && find "$inside" -xdev -uid 0 -newer "$mark" -exec chown -h "$owner" {} +
  while IFS= read -r -d '' path; do
    path=$top/$path
    while [ "$path" != "$top" ]; do  # the folders on the way may be new as well
      [ -z "$(find "$path" -maxdepth 0 -uid 0 -newer "$mark" 2>/dev/null)" ] || chown -h "$owner" -- "$path"
      path=${path%/*}
    done
  done < <(git diff --name-only --no-renames -z "$was" "$want")
}
mark=$(mktemp) && touch -d '2 seconds ago' -- "$mark" && trap 'given_back; rm -f -- "$mark"' EXIT
now=$(git rev-parse HEAD)
[ "$now" = "$was" ] || [ "$now" = "$want" ] || { echo "HEAD of $top has moved to $now" >&2; exit 86; }
git cat-file -e "$want^{commit}" 2>/dev/null ||
  timeout 90 git -c safe.directory='*' -C "$top" fetch -q "$remote" "$ref" >&2 || exit 1
# A lock that nobody holds is what a killed checkout left; the lease keeps other runs of opsctl away.
lock=$(git rev-parse --git-path index.lock); case $lock in /*) ;; *) lock=$top/$lock ;; esac
[ ! -e "$lock" ] || pgrep -x git >/dev/null || rm -f -- "$lock"
while IFS= read -r -d '' one; do
  path=${one:3}
  ! grep -Fxq -- "$path" <<<"$ours" || continue
  [ "$(git hash-object -- "$path" 2>/dev/null)" = "$(git rev-parse -q --verify "$want:$path")" ] ||
    { echo "$top/$path has changes of its own" >&2; exit 86; }
done < <(git status --porcelain -z --untracked-files=no --no-renames)
git -c advice.detachedHead=false checkout -q -f --detach "$want" >&2
"""

# pairs id, new name; --; ids to remove first
TIDY = r"""
pairs=(); while [ "$1" != -- ]; do pairs+=("$1"); shift; done; shift
for id; do docker rm -f "$id" >/dev/null || exit 1; done
set -- "${pairs[@]}"
while [ $# -ge 2 ]; do docker rename "$1" "$2" || exit 1; shift 2; done
exit 0
"""

# $1 project, $2 n, words, services: one by one and in order, for compose recreates what depends on what it recreates
RECREATE = r"""
project=$1 n=$2; shift 2; words=("${@:1:n}"); shift "$n"
for service; do
  docker compose "${words[@]}" up --no-start --no-build --pull never "$service" >&2 </dev/null || exit $?
done
# What a killed compose left half renamed gets its name.
docker ps -a --filter "label=com.docker.compose.project=$project" --format '{{.Names}}' | while read -r name; do
  [[ $name =~ ^[0-9a-f]{12}_(.+)$ ]] && docker rename "$name" "${BASH_REMATCH[1]}" >/dev/null 2>&1
done
docker ps -a --no-trunc --filter "label=com.docker.compose.project=$project" \
  --filter label=com.docker.compose.oneoff=False --format '@@created {{.Label "com.docker.compose.service"}} {{.ID}}'
exit 0
"""

# $1 pull or build, $2 project, $3 n, words, services
FETCH = r"""
verb=$1 project=$2 n=$3; shift 3; words=("${@:1:n}"); shift "$n"
docker compose "${words[@]}" "$verb" "$@" >&2 </dev/null
"""

# pairs reference, image id
RETAG = r"""
while [ $# -ge 2 ]; do docker tag "$2" "$1" || exit 1; shift 2; done
exit 0
"""

EMPTY = r"""
for place; do
  if [ ! -e "$place" ]; then printf '%s\tempty\n' "$place"
  elif [ -d "$place" ]; then
    if [ ! -r "$place" ]; then printf '%s\tunknown\n' "$place"
    elif [ -n "$(ls -A -- "$place" | head -1)" ]; then printf '%s\tfull\n' "$place"
    else printf '%s\tempty\n' "$place"; fi
  else printf '%s\tfull\n' "$place"; fi
done
exit 0
"""
