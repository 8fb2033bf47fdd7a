"""What a plan of `host install`, `upgrade` and `remove` consists of, and how each step is done."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from opsctl.jobs.host_facts import APP, CONFIG, FOLDER, LINK, REPLAY, as_root
from opsctl.model.cancel import Cancel
from opsctl.model.droplet_app import Bundle, Target
from opsctl.model.errors import StepFailed
from opsctl.model.events import Outcome
from opsctl.model.plan import Action
from opsctl.model.ports import Completed, Script, Shell
from opsctl.model.stackfile_droplet import SECRETS, DropletFiles
from opsctl.model.units import show_size
from opsctl.spine import hold
from opsctl.spine.batch import Batch, Handler

_PIECE = 2 << 20
_BOUND = 300.0  # s; an emulated or a small machine unpacks slowly
_ASSETS = Path(__file__).with_name("droplet")


@dataclass(frozen=True)
class PutApp(Action):
    """Carry opsctl over and unpack it beside what is there. Bytes."""

    kind: ClassVar[str] = "put-app"
    name: str
    digest: str
    files: int
    size: int
    packages: Mapping[str, str]
    python: str


@dataclass(frozen=True)
class Activate(Action):
    """Write the configuration, let the new opsctl read it, and only then switch to it."""

    kind: ClassVar[str] = "activate"
    name: str
    files: Mapping[str, str]  # path → mode
    digests: Mapping[str, str]  # of those that hold no secret
    secrets: tuple[str, ...]  # names only
    link: str = LINK


@dataclass(frozen=True)
class PutUnit(Action):
    """Write the unit (or the cron file) that replays the stack after a boot, and enable it."""

    kind: ClassVar[str] = "put-unit"
    path: str
    digest: str
    cron: bool = False


@dataclass(frozen=True)
class DropFiles(Action):
    """Remove files that were put there; units are disabled and stopped before."""

    kind: ClassVar[str] = "drop"
    paths: tuple[str, ...]
    units: tuple[str, ...] = ()
    folders: tuple[str, ...] = field(default=())  # whole
    empty: tuple[str, ...] = ()  # removed where nothing is left in them


_BEGIN = r"""
umask 022
mkdir -p -- "${1%/*}" && rm -f -- "$1" && (umask 077; : >"$1")
"""
_APPEND = 'cat >>"$1"'

# $1 folder of all, $2 name, $3 python, $4 its version, $5 digest, $6 what was carried over, $7 replay, $8 holds
_UNPACK = r"""
set -e
export LC_ALL=C PATH="$PATH:/usr/local/bin:/usr/bin:/bin"
umask 022
app=$1 name=$2 python=$3 version=$4 digest=$5 part=$6
new=$app/.$name.new
trap 'rm -rf -- "$new" "$part"' EXIT
printf '%s  %s\n' "$digest" "$part" | sha256sum -c --quiet - >&2
rm -rf -- "$new"
mkdir -p -- "$new/bin" "$new/lib/python$version/site-packages"
tar -xzf "$part" -C "$new/lib/python$version/site-packages" --no-same-owner
ln -s -- "$python" "$new/bin/python"
printf 'home = %s\ninclude-system-site-packages = false\nversion = %s\n' "${python%/*}" "$version" >"$new/pyvenv.cfg"
printf '#!%s -I\nfrom opsctl.cli.main import run\nimport sys\n\nsys.argv[0] = "opsctl"\nrun()\n' \
  "$app/$name/bin/python" >"$new/bin/opsctl"
printf '%s\n' "$7" >"$new/bin/replay"
printf '#!/bin/bash\n%s\n' "$8" >"$new/bin/holds"
chmod 755 "$new/bin/opsctl" "$new/bin/replay" "$new/bin/holds"
"$new/bin/python" -I -c 'import pydantic, rich, ruamel.yaml, typer, opsctl.cli.main' >&2
# Compiled now, for a run that has to compile first takes 10 MB more.
(cd "$new/lib/python$version/site-packages" && "$new/bin/python" -I -m compileall -q opsctl rich typer) >&2 || true
sync -f "$new" 2>/dev/null || true
rm -rf -- "$app/$name"
mv -T -- "$new" "$app/$name"
"$app/$name/bin/opsctl" --version
"""

# stdin: a tar of the files. $1 folder of all, $2 name, $3 configuration's folder, $4 link, $5 the stack file's name
_ACTIVATE = r"""
set -e
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
umask 022
app=$1 name=$2 etc=$3 link=$4 file=$5
if [ -e "$link" ] && [ ! -L "$link" ]; then echo "$link is there and is not opsctl's: move it away" >&2; exit 1; fi
there=$(readlink -- "$link" || true)
case $there in ''|"$app"/*) ;; *) echo "$link leads to $there: move it away" >&2; exit 1 ;; esac
mkdir -p -- "$etc" "${link%/*}"
new=$(mktemp -d "$etc/.new.XXXXXX")
trap 'rm -rf -- "$new"' EXIT
tar -x -p -m -C "$new" --no-same-owner
"$app/$name/bin/opsctl" config show --offline --json --stack "$new/$file" >"$new/.said" 2>&1 || {
  echo "the new opsctl cannot read its stack file: $(tail -c 600 "$new/.said" | tr '\n' ' ')" >&2; exit 1; }
rm -f -- "$new/.said"
(cd "$new" && find . -type f -print) | while IFS= read -r each; do
  mkdir -p -- "$etc/$(dirname -- "$each")"
  mv -f -- "$new/$each" "$etc/$each"
done
ln -sfn -- "$app/$name" "$app/.current"
mv -fT -- "$app/.current" "$app/current"
ln -sfn -- "$app/current/bin/opsctl" "$link.new"
mv -fT -- "$link.new" "$link"
sync -f "$app" 2>/dev/null || true
"$link" --version
"""

# $1 path, $2 text, $3 unit to enable, or nothing
_UNIT = r"""
set -e
umask 022
printf '%s' "$2" >"$1.new"
mv -f -- "$1.new" "$1"
if [ -n "$3" ]; then systemctl daemon-reload; systemctl enable --quiet "$3"; fi
"""

# words: units, --, files, --, whole folders, --, folders that may be empty by now
_DROP = r"""
rc=0 reload=
while [ $# -gt 0 ] && [ "$1" != -- ]; do systemctl disable --now --quiet "$1" || rc=1; reload=1; shift; done; shift
while [ $# -gt 0 ] && [ "$1" != -- ]; do rm -f -- "$1" || rc=1; shift; done; shift
while [ $# -gt 0 ] && [ "$1" != -- ]; do rm -rf -- "$1" || rc=1; shift; done; shift
while [ $# -gt 0 ]; do [ ! -d "$1" ] || rmdir -- "$1" 2>/dev/null || true; shift; done
[ -z "$reload" ] || { systemctl daemon-reload; systemctl reset-failed 'opsctl-*' 2>/dev/null; }
exit $rc
"""


def unit_text() -> str:
    """The unit that replays after a boot."""
    return (_ASSETS / REPLAY).read_text(encoding="utf-8")


def cron_text() -> str:
    """The line that replays after a boot where there is no systemd."""
    return (
        "# Put here by `opsctl host install`; `opsctl host remove` takes it away.\n"
        f"@reboot root {APP}/current/bin/replay 2>&1 | logger -t opsctl-replay\n"
    )


def digest(data: bytes) -> str:
    """SHA-256, in hex."""
    return hashlib.sha256(data).hexdigest()


def handlers(bundle: Bundle | None, target: Target | None, files: DropletFiles | None) -> Mapping[str, Handler]:
    """What the executor calls; contents are not in the plan, for some of them are secret."""

    def put_app(batch: Batch) -> None:
        assert bundle is not None and target is not None
        _put_app(batch, bundle, target)

    def activate(batch: Batch) -> None:
        assert files is not None
        _activate(batch, files)

    return {
        PutApp.kind: Handler(put_app),
        Activate.kind: Handler(activate),
        PutUnit.kind: Handler(_put_unit),
        DropFiles.kind: Handler(_drop),
    }


def _put_app(batch: Batch, bundle: Bundle, target: Target) -> None:
    (step,) = batch.steps

    def told(what: str) -> None:
        batch.board.waiting(step, what)

    unpack = carry_over(batch.shell, bundle, target, folder=APP, told=told, cancel=batch.cancel)
    must(batch.change(unpack, timeout=_BOUND), "opsctl could not be unpacked and started there")
    batch.done(step, Outcome.CHANGED, f"{bundle.files} files, {show_size(bundle.size)}")


def carry_over(
    shell: Shell, bundle: Bundle, target: Target, *, folder: str, told: Callable[[str], None], cancel: Cancel
) -> Script:
    """Bring the archive there; the script that unpacks it into `folder` and starts it once. Raises StepFailed."""
    data, part = bundle.archive(), f"{folder}/.{bundle.name}.part"
    must(shell.run(as_root(_BEGIN, part), cancel=cancel, timeout=30), f"{folder} cannot be written")
    for at in range(0, len(data), _PIECE):
        told(f"{show_size(at)} of {show_size(len(data))} carried over")
        piece = as_root(_APPEND, part, stdin=data[at : at + _PIECE])
        must(shell.run(piece, cancel=cancel, timeout=_BOUND), "opsctl could not be carried over")
    told("unpacking")
    version = f"{target.version[0]}.{target.version[1]}"
    replay = (_ASSETS / "replay.sh").read_text(encoding="utf-8")
    words = (folder, bundle.name, target.python, version, digest(data), part, replay, hold.READ)
    return as_root(_UNPACK, *words)


def _activate(batch: Batch, files: DropletFiles) -> None:
    (step,) = batch.steps
    action = step.action
    assert isinstance(action, Activate)
    words = (APP, action.name, FOLDER, action.link, Path(CONFIG).name)
    script = as_root(_ACTIVATE, *words, stdin=archive(files))
    answer = must(batch.change(script, timeout=_BOUND), "the droplet stays with what it had")
    batch.done(step, Outcome.CHANGED, answer)


def archive(files: DropletFiles) -> bytes:
    """A tar of the configuration; the secrets are for root alone."""
    buffer = io.BytesIO()
    contents = {Path(CONFIG).name: files.text.encode(), **files.files}
    if files.secrets:
        contents[SECRETS] = files.secrets_text().reveal().encode()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in sorted(contents.items()):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o600 if name == SECRETS else 0o644
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _put_unit(batch: Batch) -> None:
    (step,) = batch.steps
    action = step.action
    assert isinstance(action, PutUnit)
    text = cron_text() if action.cron else unit_text()
    unit = "" if action.cron else REPLAY
    must(batch.change(as_root(_UNIT, action.path, text, unit), timeout=60), f"{action.path} could not be written")
    batch.done(step, Outcome.CHANGED, action.path)


def _drop(batch: Batch) -> None:
    (step,) = batch.steps
    action = step.action
    assert isinstance(action, DropFiles)
    words = (*action.units, "--", *action.paths, "--", *action.folders, "--", *action.empty)
    must(batch.change(as_root(_DROP, *words), timeout=_BOUND), "not everything could be removed")
    batch.done(step, Outcome.CHANGED, f"{len(action.paths) + len(action.folders)} removed")


def must(answer: Completed, what: str) -> str:
    """The last line of a script that succeeded. Raises StepFailed with its own words otherwise."""
    if answer.code == 0:
        return (answer.text.strip().splitlines() or [""])[-1]
    said = [line for line in (answer.error_text or answer.text).strip().splitlines() if line.strip()]
    sudo = any("sudo:" in line for line in said)
    raise StepFailed(
        what,
        why=said[-1] if said else f"exit status {answer.code}",
        next="log in as root, or let this user use sudo without a password" if sudo else "opsctl host status",
        code="needs-root" if sudo else "host-failed",
    )
