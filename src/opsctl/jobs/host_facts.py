"""What opsctl finds of itself on a droplet, and which Python there could run it. One remote call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from opsctl.jobs.call import STATE_DIR
from opsctl.jobs.doctor_checks import sections
from opsctl.model.boot import BootState, parse_boot
from opsctl.model.cancel import Cancel
from opsctl.model.droplet_app import Target
from opsctl.model.ports import Script, Shell

APP = f"{STATE_DIR}/app"
CURRENT = f"{APP}/current"
LINK = "/usr/local/bin/opsctl"
FOLDER = "/etc/opsctl"
CONFIG = f"{FOLDER}/opsctl.yaml"
UNITS = "/etc/systemd/system"
REPLAY = "opsctl-replay.service"
CRON_REPLAY = "/etc/cron.d/opsctl-replay"
MINIMUM = (3, 11)
_BOUND = 180.0  # s; what is installed is started, which takes long on a machine that swaps or is emulated

# $1: the script, the rest its arguments. Root does it at once, others with sudo where they may.
AS_ROOT = 'if [ "$EUID" = 0 ]; then eval "$_body"; else sudo -n -- bash -c "$_body" bash "$@"; fi'
_AS_ROOT_IF = (
    'if [ "$EUID" = 0 ] || ! sudo -n true 2>/dev/null; then eval "$_body"; '
    'else sudo -n -- bash -c "$_body" bash "$@"; fi'
)

_READ = r"""
app=$1 link=$2 etc=$3 units=$4
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
at() { printf '@@%s\n' "$1"; }
at python
for each in python3 python3.14 python3.13 python3.12 python3.11; do
  found=$(command -v "$each") || continue
  "$found" -ISc 'import os, platform, sys, sysconfig
libc, version = platform.libc_ver()
free = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
kind = sys.implementation.name + ("t" if free else "")
path, python = os.path.realpath(sys.executable), "%d.%d" % sys.version_info[:2]
print(path, python, platform.machine(), libc or "musl", version or "-", kind)
' 2>/dev/null
done
at current; readlink -- "$app/current"
at versions
for each in "$app"/*; do [ -L "$each" ] || [ ! -f "$each/pyvenv.cfg" ] || printf '%s\n' "${each##*/}"; done
at size; du -sk -- "$app" 2>/dev/null
at count; [ ! -d "$app" ] || find "$app" -xdev ! -type d | wc -l
at carried; [ ! -d "$app/current/lib" ] || find "$app/current/lib" -name __pycache__ -prune -o -type f -printf '%s\n' |
  awk '{ sum += $1 } END { printf "%d %d\n", NR, sum }'
at link; readlink -- "$link"
at answers; [ ! -x "$app/current/bin/opsctl" ] || timeout 30 "$app/current/bin/opsctl" --version 2>&1 | tail -n 1
at files
for each in "$link" "$etc"/* "$etc"/.[!.]* "$units"/opsctl-*.service "$units"/opsctl-*.timer \
  /etc/cron.d/opsctl /etc/cron.d/opsctl-* "${app%/*}/boot.json"; do
  [ -f "$each" ] || [ -L "$each" ] || continue
  sum=-; [ -L "$each" ] || [ ! -r "$each" ] || { sum=$(sha256sum -- "$each"); sum=${sum%% *}; }
  printf '%s %s %s %s\n' "$(stat -c '%s %a' -- "$each")" "$sum" "$([ -L "$each" ] && echo link || echo file)" "$each"
done
at nested; [ ! -d "$etc" ] || find "$etc" -mindepth 2 -type f -printf '%s %m - file %p\n'
at systemd; [ ! -d /run/systemd/system ] || echo yes
at units
if [ -d /run/systemd/system ]; then
  for each in "$units"/opsctl-*.service "$units"/opsctl-*.timer; do
    [ -f "$each" ] || continue
    each=${each##*/}
    printf '%s %s %s\n' "$each" "$(systemctl is-enabled "$each" 2>/dev/null || true)" \
      "$(systemctl is-active "$each" 2>/dev/null || true)"
  done
fi
at cron; command -v cron || command -v crond
at crond; [ ! -d /etc/cron.d ] || echo yes
at boot; cat "${app%/*}/boot.json" 2>/dev/null
at state; for each in "${app%/*}"/*; do [ ! -e "$each" ] || printf '%s\n' "$each"; done
at free; df -PB1 "${app%/*}" / 2>/dev/null | awk 'NR == 2 { print $4 }'
at root; if [ "$EUID" = 0 ]; then echo yes; fi
exit 0
"""


@dataclass(frozen=True)
class Placed:
    """A file that opsctl put there. Bytes; `digest` is empty for a link and for what may not be read."""

    path: str
    size: int
    mode: str
    digest: str = ""


@dataclass(frozen=True)
class Unit:
    """A systemd unit of opsctl's."""

    name: str
    enabled: str
    active: str


@dataclass(frozen=True)
class HostFacts:
    """A droplet as `host` sees it. Bytes."""

    targets: tuple[Target, ...]  # Pythons that could run opsctl, the default one first
    pythons: tuple[str, ...]  # all that were found, with their version
    current: str  # the folder's name in use, "" without
    versions: tuple[str, ...]
    size: int
    count: int
    carried: tuple[int, int]  # files of the one in use and their size, without what Python compiled
    link: str
    answers: str  # what the one in use says of its version, "" where it says nothing
    files: Mapping[str, Placed]
    units: tuple[Unit, ...]
    systemd: bool
    cron: bool
    boot: BootState
    state: tuple[str, ...]  # what is in opsctl's folder
    free: int
    root: bool  # what must be root can be

    @property
    def installed(self) -> bool:
        """Whether anything of opsctl itself is there."""
        return bool(self.current or self.versions or LINK in self.files or CONFIG in self.files)


def as_root(body: str, *args: str, stdin: bytes | None = None) -> Script:
    """A script that must run as root; the user may need sudo for it."""
    return Script(f"_body=$1; shift; {AS_ROOT}", (body, *args), stdin=stdin)


def look(shell: Shell, *, cancel: Cancel) -> HostFacts:
    """Read the droplet; changes nothing."""
    script = Script(f"_body=$1; shift; {_AS_ROOT_IF}", (_READ, APP, LINK, FOLDER, UNITS))
    return parse(shell.run(script, cancel=cancel, timeout=_BOUND).text)


def parse(text: str) -> HostFacts:
    """What the script printed. Pure."""
    found = sections(text)
    first = {name: (found.get(name, "").splitlines() or [""])[0].strip() for name in found}
    pythons = [line.split() for line in found.get("python", "").splitlines()]
    targets = dict.fromkeys(target for words in pythons if (target := _target(words)) is not None)
    lines = [*found.get("files", "").splitlines(), *found.get("nested", "").splitlines()]
    placed = [_placed(line) for line in lines if line.strip()]
    units = [line.split() for line in found.get("units", "").splitlines()]
    return HostFacts(
        targets=tuple(targets),
        pythons=tuple(dict.fromkeys(f"{words[0]} ({words[1]})" for words in pythons if len(words) == 6)),
        current=first.get("current", ""),
        versions=tuple(found.get("versions", "").split()),
        size=int((first.get("size") or "0").split()[0]) * 1024,
        count=int(first.get("count") or 0),
        carried=_pair(first.get("carried", "")),
        link=first.get("link", ""),
        answers=first.get("answers", ""),
        files=MappingProxyType({each.path: each for each in placed}),
        units=tuple(Unit(words[0], words[1], words[2]) for words in units if len(words) == 3),
        systemd=first.get("systemd") == "yes",
        cron=bool(first.get("cron")) and first.get("crond") == "yes",
        boot=parse_boot(found.get("boot", "")),
        state=tuple(found.get("state", "").splitlines()),
        free=int(first.get("free") or 0),
        root=first.get("root") == "yes",
    )


def _target(words: list[str]) -> Target | None:
    if len(words) != 6 or words[5] != "cpython":
        return None
    path, version, machine, libc, libc_version, _ = words
    numbers = _numbers(version)
    return Target(path, numbers, machine, libc, _numbers(libc_version)) if numbers >= MINIMUM else None


def _numbers(text: str) -> tuple[int, int]:
    parts = [int(part) for part in text.split(".")[:2] if part.isdigit()]
    return (parts[0], parts[1]) if len(parts) == 2 else (0, 0)


def _pair(text: str) -> tuple[int, int]:
    words = [int(word) for word in text.split() if word.isdigit()]
    return (words[0], words[1]) if len(words) == 2 else (0, 0)


def _placed(line: str) -> Placed:
    size, mode, digest, kind, path = line.split(" ", 4)
    return Placed(path, int(size), mode, "" if kind == "link" or digest == "-" else digest)
