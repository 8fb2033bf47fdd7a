"""What a droplet itself must have: tools, state folder, time, disk, memory, a kernel log that lasts."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from statistics import median

from opsctl.jobs.doctor_checks import Area, sections, version
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ExitCode
from opsctl.model.examination import Check
from opsctl.model.ports import Host, Privilege, Script, Shell
from opsctl.model.stack import Droplet
from opsctl.model.units import show_duration, show_size

STATE_DIR = "/var/lib/opsctl"
_CLOCK_LOOKS = 5
_SKEW = 2.0  # s; beyond, `--since` and the stamps of audit and journal mislead
_READ = r"""
at() { printf '@@%s\n' "$1"; }
at os; (. /etc/os-release 2>/dev/null; printf '%s\n' "$PRETTY_NAME"); uname -r; uname -m
at tools; for each in flock curl python3 base64 stdbuf setsid timeout journalctl sudo; do command -v "$each"; done
at bash; printf '%s\n' "$BASH_VERSION"
at python; python3 -ISc 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null
at synced; timedatectl show -p NTPSynchronized --value 2>/dev/null
at state; stat -c '%A %U:%G' "$1" 2>/dev/null
at writable; parent=$1; while [ ! -e "$parent" ]; do parent=${parent%/*}; parent=${parent:-/}; done
[ -w "$parent" ] && echo yes
at disk; df -PB1 / "$parent" 2>/dev/null
at inodes; df -Pi / "$parent" 2>/dev/null
at meminfo; cat /proc/meminfo
at pressure; cat /proc/pressure/memory 2>/dev/null
at cpus; nproc
at journal; [ -d /var/log/journal ] && echo persistent
at lease
boot=$(cat /proc/sys/kernel/random/boot_id)
for lock in "$1"/lease/*.lock; do
  [ -e "$lock" ] || continue
  name=${lock##*/} holder= held=free
  IFS= read -r holder <"${lock%.lock}.json" 2>/dev/null
  # Trying the lock would be in the way of somebody who takes it: look whether its holder lives.
  if [[ $holder == *"\"boot_id\":\"$boot\""* && $holder =~ \"pid\":\"([0-9]+)\" ]]; then
    case $(tr '\0' ' ' <"/proc/${BASH_REMATCH[1]}/cmdline" 2>/dev/null) in *opsctl-agent*) held=held ;; esac
  fi
  printf '%s %s %s\n' "${name%.lock}" "$held" "$holder"
done
"""


def look(shell: Shell, droplet: Droplet, *, cancel: Cancel) -> tuple[Check, ...]:
    """Read the host in one call and judge it."""
    done = shell.run(Script(_READ, (STATE_DIR,)), cancel=cancel, timeout=60)
    found = sections(done.text)
    return (*judge(found, droplet), *judge_leases(found.get("lease", "")))


def judge(found: Mapping[str, str], droplet: Droplet) -> tuple[Check, ...]:
    """What the host said, judged."""
    area = Area("host")
    system, kernel, machine, *_ = [*found.get("os", "").splitlines(), "", "", ""]
    area.ok("system", f"{system or 'unknown system'}, kernel {kernel}, {machine}, {found.get('cpus', '?')} CPUs")
    _tools(area, found)
    _state(area, found)
    _disk(area, found.get("disk", ""), found.get("inodes", ""))
    _memory(area, found.get("meminfo", ""), droplet.reserve)
    _kernel(area, found)
    return tuple(area.checks)


def _tools(area: Area, found: Mapping[str, str]) -> None:
    have = {path.rsplit("/", 1)[-1] for path in found.get("tools", "").split()}
    area.ok("bash", found.get("bash", ""))
    if "flock" in have:
        area.ok("flock", "the lease can be taken")
    else:
        area.failed("flock", "without it nothing can be changed safely", "apt-get install util-linux", ExitCode.FAILED)
    if "curl" in have:
        area.ok("curl", "logs and memory are read through the engine's API")
    else:
        area.warning("curl", "logs and memory cost more memory without it", "apt-get install curl")
    missing = {"base64", "stdbuf", "timeout", "setsid"} - have
    if missing:
        area.warning("tools", f"missing: {', '.join(sorted(missing))}", "apt-get install coreutils util-linux")
    python = found.get("python", "")
    if version(python) >= (3, 11):
        area.ok("python", f"{python}: opsctl itself could run here")
    else:
        shown = python or "none"
        area.ok("python", f"{shown}: enough for a laptop's opsctl; to run opsctl here it needs 3.11")


def _state(area: Area, found: Mapping[str, str]) -> None:
    folder, writable = found.get("state", ""), found.get("writable", "") == "yes"
    if writable:
        shown = folder or "not there yet: the first change makes it"
        area.ok("state folder", f"{STATE_DIR}: {shown}, writable for this user")
        return
    area.warning(
        "state folder",
        f"{STATE_DIR} ({folder or 'not there'}) is not writable for this user: reading works, changing does not",
        f"sudo install -d -m 2775 -g docker {STATE_DIR} {STATE_DIR}/lease {STATE_DIR}/runs",
    )


def _disk(area: Area, sizes: str, inodes: str) -> None:
    for place, total, free in disk_rows(sizes):
        text = f"{show_size(free)} of {show_size(total)} free"
        _space(area, f"disk {place}", text, free / total, tight=free < 2 * 10**9, full=free < 200 * 10**6)
    for place, total, free in disk_rows(inodes):
        if free / total < 0.1:
            _space(area, f"inodes {place}", f"{free} of {total} free", free / total, tight=False, full=False)


def _space(area: Area, name: str, text: str, share: float, *, tight: bool, full: bool) -> None:
    mend = "on the droplet: docker system df; du -xh --max-depth=2 / | sort -h | tail"
    if full or share < 0.03:
        area.failed(name, f"{text}: as good as full", mend)
    elif tight or share < 0.1:
        area.warning(name, text, mend)
    else:
        area.ok(name, text)


def disk_rows(text: str) -> list[tuple[str, int, int]]:
    """Mount point, total and free of each line of `df -P`, each mount once; those without a total are left out."""
    rows: dict[str, tuple[str, int, int]] = {}
    for line in text.splitlines():
        match = re.match(r"^\S+\s+(\d+)\s+\d+\s+(\d+)\s+\S+\s+(/.*)$", line)
        if match and int(match[1]):
            rows.setdefault(match[3], (match[3], int(match[1]), int(match[2])))
    return list(rows.values())


def _memory(area: Area, text: str, reserve: int) -> None:
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in text.splitlines() if line.endswith("kB")}
    if "MemTotal" not in sizes:
        area.unknown("memory", "/proc/meminfo could not be read")
        return
    available, swap = sizes.get("MemAvailable", 0), sizes.get("SwapTotal", 0)
    shown = f"{show_size(available)} of {show_size(sizes['MemTotal'])} available"
    shown += f", swap {show_size(swap - sizes.get('SwapFree', 0))} of {show_size(swap)} used" if swap else ", no swap"
    if available < reserve:
        area.warning("memory", f"{shown}; the reserve is {show_size(reserve)}", "opsctl memory report")
    else:
        area.ok("memory", shown)


def _kernel(area: Area, found: Mapping[str, str]) -> None:
    if found.get("pressure"):
        area.ok("pressure", "the kernel tells who waits for memory (PSI)")
    else:
        area.warning(
            "pressure", "this kernel does not tell it (PSI is off)", "boot with psi=1 on the kernel's command line"
        )
    if found.get("journal") == "persistent":
        area.ok("journal", "the kernel log survives a reboot")
    else:
        area.warning(
            "journal",
            "the kernel log ends with the boot: after a crash nobody can say what was killed",
            "on the droplet, where systemd runs: mkdir -p /var/log/journal && systemctl restart systemd-journald",
        )
    if found.get("synced") == "no":
        area.warning("time service", "the clock is not synchronised", "timedatectl set-ntp true")


def judge_leases(text: str) -> tuple[Check, ...]:
    """Who holds which lease now."""
    area = Area("host")
    for line in text.splitlines():
        scope, state, holder = [*line.split(" ", 2), "", ""][:3]
        said = _holder(holder)
        if state == "held":
            area.warning(
                f"lease {scope}",
                f"held by {said or 'somebody'}: changes have to wait",
                "wait for it; a dead owner's is free in 60 s",
            )
        elif said:
            area.ok(f"lease {scope}", f"free; {said} was cut off, the next run says so in the audit")
        else:
            area.ok(f"lease {scope}", "free")
    if not area.checks:
        area.ok("lease", "free, never taken yet")
    return tuple(area.checks)


def _holder(text: str) -> str:
    import json

    try:
        found = json.loads(text)
    except ValueError:
        return ""
    if not isinstance(found, dict):
        return ""
    who = " ".join(filter(None, (found.get("user", ""), f"from {found['from']}" if found.get("from") else "")))
    return f"{who} ({found['command']})" if found.get("command") else who


def connection(host: Host, shell: Shell, privilege: Privilege, *, cancel: Cancel) -> tuple[Check, ...]:
    """How far away the droplet is, as whom commands run there, and whether its clock agrees with ours."""
    area = Area("connection")
    as_whom = f"{privilege.user}, through sudo" if privilege.sudo else privilege.user
    area.ok("login", f"{host.address} as {as_whom}")
    trips, skews = [], []
    for _ in range(_CLOCK_LOOKS):
        before = time.time()
        there = shell.run(Script("date +%s.%N"), cancel=cancel, timeout=30).text.strip()
        after = time.time()
        trips.append(after - before)
        skews.append(float(there or 0) - (before + after) / 2)
    trip, skew = median(trips), median(skews)
    _latency(area, trip)
    if abs(skew) > _SKEW + trip:
        side = "ahead of" if skew > 0 else "behind"
        area.warning(
            "clock",
            f"the droplet's is {show_duration(abs(skew))} {side} this machine's",
            "timedatectl set-ntp true, on both",
        )
    else:
        area.ok("clock", f"agrees with this machine's within {max(abs(skew), trip / 2) * 1000:.0f} ms")
    return tuple(area.checks)


def _latency(area: Area, trip: float) -> None:
    shown = f"{trip * 1000:.0f} ms for a command there and back"
    if trip > 1.0:
        area.warning("latency", f"{shown}: everything will feel slow", "a droplet in a nearer region, or a jump host")
    else:
        area.ok("latency", shown)
