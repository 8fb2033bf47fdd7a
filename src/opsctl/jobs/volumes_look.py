"""What is known of a volume and of the folder that stands for it: one remote call, which changes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import cast, get_args

from opsctl.jobs.doctor_checks import sections
from opsctl.model.cancel import Cancel
from opsctl.model.errors import StepFailed
from opsctl.model.ports import Script, Shell
from opsctl.model.volumes import Mounting, Phase, Place, Record, VolumeFacts

_BOUND = 300.0  # s; the size of many small files on a slow disk is counted

# $1 socket, $2 state folder, $3 volume, $4 folder ("" takes the one of the record)
_LOOK = r"""
export LC_ALL=C PATH="$PATH:/usr/local/bin:/snap/bin"
[ -z "$1" ] || export DOCKER_HOST="unix://$1"
record=$2/volumes/$3/record volume=$3 path=$4
[ -n "$path" ] || path=$(sed -n 's/^path //p' "$record" 2>/dev/null)
at() { printf '@@%s\n' "$1"; }
place() {
  local at=$1 found
  [ -n "$at" ] || return
  printf 'path %s\n' "$at"
  if [ -e "$at" ] || [ -L "$at" ]; then
    printf 'exists yes\nidentity %s\nreal %s\n' "$(stat -Lc %d:%i -- "$at")" "$(realpath -- "$at")"
    if [ -d "$at" ]; then
      printf 'folder yes\nsize %s\nfiles %s\n' "$(du -sB1 -- "$at" | cut -f1)" "$(du -s --inodes -- "$at" | cut -f1)"
      [ -z "$(ls -A -- "$at")" ] || echo 'full yes'
    fi
  fi
  while [ -n "$at" ] && [ ! -d "$at" ]; do at=${at%/*}; done
  stat -f -c 'disk %a %S %c %d' -- "${at:-/}"
}
at record; cat -- "$record" 2>/dev/null
at root; id -u
at lacks
for each in find awk b2sum sed sort comm paste xargs setsid; do command -v "$each" >/dev/null || echo "$each"; done
case $(tar --version 2>/dev/null) in *GNU*) ;; *) echo 'GNU tar' ;; esac
at volume; docker volume inspect --format '{{.Driver}} {{json .Options}} {{.Mountpoint}}' "$volume" 2>/dev/null
at inside; place "$(docker volume inspect --format '{{.Mountpoint}}' "$volume" 2>/dev/null)"
at host; place "$path"
at mounting
labels='{{.Label "com.docker.compose.project"}}|{{.Label "com.docker.compose.service"}}'
docker ps -a --no-trunc --filter "volume=$volume" --format "{{.ID}}|{{.State}}|$labels|{{.Names}}"
exit 0
"""


@cache
def library() -> str:
    """The functions that the steps' scripts call."""
    return (Path(__file__).with_name("droplet") / "volumes.sh").read_text(encoding="utf-8")


def look(shell: Shell, volume: str, path: str, *, socket: str, state_dir: str, cancel: Cancel) -> VolumeFacts:
    """Read volume and folder; with "" for `path` the folder of the record. Raises StepFailed for half an answer."""
    answer = shell.run(Script(_LOOK, (socket, state_dir, volume, path)), cancel=cancel, timeout=_BOUND)
    found = sections(answer.text)
    if "mounting" not in found:
        raise StepFailed("the volume could not be looked at", why=answer.error_text, next="opsctl doctor")
    return parse(found)


def parse(found: Mapping[str, str]) -> VolumeFacts:
    """What the script printed. Pure."""
    driver, _, rest = found["volume"].strip().partition(" ")
    options, _, _ = rest.rpartition(" ")
    rows = [line.split("|", 4) for line in found["mounting"].splitlines() if line.count("|") >= 4]
    return VolumeFacts(
        record=record_of(found["record"]),
        exists=bool(driver),
        driver=driver,
        options={str(key): str(value) for key, value in (json.loads(options or "null") or {}).items()},
        volume=_place(found["inside"]),
        host=_place(found["host"]),
        mounting=tuple(Mounting(*row) for row in rows),
        root=found["root"].strip() == "0",
        lacks=tuple(found["lacks"].split("\n")) if found["lacks"].strip() else (),
    )


def record_of(text: str) -> Record | None:
    """The record in the file's text; None for none, and for half a one."""
    known = _words(text)
    if known.get("phase") not in get_args(Phase) or not known.get("path"):
        return None
    names = ("checksum", "at", "by", "folder")
    phase = cast(Phase, known["phase"])
    return Record(known.get("volume", ""), known["path"], phase, *(known.get(name, "") for name in names))


def _words(text: str) -> dict[str, str]:
    return {head: rest for head, _, rest in (line.partition(" ") for line in text.splitlines())}


def _place(text: str) -> Place:
    known = _words(text)
    disk = [int(word) for word in known.get("disk", "0 0 0 0").split()]
    return Place(
        path=known.get("path", ""),
        exists="exists" in known,
        folder="folder" in known,
        empty="full" not in known,
        identity=known.get("identity", ""),
        real=known.get("real", ""),
        size=int(known.get("size") or 0),
        files=int(known.get("files") or 0),
        free=disk[0] * disk[1],
        free_files=disk[3] if disk[2] else None,
    )
