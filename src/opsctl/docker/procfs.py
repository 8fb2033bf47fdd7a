"""/proc as text: meminfo, vmstat, pressure, and processes summed into groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from opsctl.model.memory_facts import Group, Pressure

_DAEMONS = {"dockerd": "dockerd", "containerd": "containerd", "docker-proxy": "proxies", "rootlesskit": "rootlesskit"}


@dataclass(frozen=True)
class Process:
    """One process outside containers; `cgroup` is its path on version 2, "" elsewhere."""

    pid: str
    comm: str
    anon: int
    pss: int
    swap: int
    cgroup: str

    @property
    def daemon(self) -> str:
        """Which part of Docker it is; "" for none."""
        name = self.comm.removeprefix("docker-") if self.comm.startswith("docker-containerd") else self.comm
        return "shims" if name.startswith("containerd-shim") else _DAEMONS.get(name, "")


def parse_meminfo(text: str) -> dict[str, int]:
    """/proc/meminfo in bytes (huge page counts stay counts)."""
    found = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        words = value.split()
        if words and words[0].isdigit():
            found[key] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return found


def parse_vmstat(text: str) -> dict[str, int]:
    """`key value` lines, in the kernel's own units."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def parse_pressure(text: str) -> Pressure | None:
    """A pressure file; None when it is not there or off."""
    found: dict[str, tuple[tuple[float, float, float], int]] = {}
    for line in text.splitlines():
        kind, *pairs = line.split()
        values = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        try:
            averages = (float(values["avg10"]), float(values["avg60"]), float(values["avg300"]))
            found[kind] = (averages, int(values["total"]))
        except (KeyError, ValueError):
            return None
    if "some" not in found or "full" not in found:
        return None
    return Pressure(found["some"][0], found["full"][0], found["some"][1], found["full"][1])


def parse_processes(rollups: str, comms: str, cgroups: str) -> tuple[Process, ...]:
    """`grep -H` of /proc/PID/smaps_rollup, comm and cgroup. Kernel threads have no rollup and are left out."""
    sizes: dict[str, dict[str, int]] = defaultdict(dict)
    for pid, line in _by_pid(rollups):
        key, _, value = line.partition(":")
        words = value.split()
        if words and words[0].isdigit():
            sizes[pid][key] = int(words[0]) * 1024
    names, paths = dict(_by_pid(comms)), {pid: line.removeprefix("0::") for pid, line in _by_pid(cgroups)}
    return tuple(
        Process(pid, names.get(pid, "?"), size["Pss_Anon"], size["Pss"], size.get("SwapPss", 0), paths.get(pid, ""))
        for pid, size in sizes.items()
        if "Pss_Anon" in size and "Pss" in size
    )


def daemon_groups(processes: Iterable[Process]) -> tuple[Group, ...]:
    """Docker's own processes: dockerd, containerd, shims, proxies."""
    return _grouped((each.daemon, each) for each in processes if each.daemon)


def program_groups(processes: Iterable[Process]) -> tuple[Group, ...]:
    """All other processes, by the name of their program."""
    return _grouped((each.comm, each) for each in processes if not each.daemon)


def unit_groups(units: Mapping[str, int], inside: Sequence[tuple[str, int]]) -> tuple[Group, ...]:
    """Services by cgroup (path → anon), without what is counted elsewhere: `inside` is (cgroup, anon) of that."""
    groups = []
    for path, anon in units.items():
        elsewhere = sum(size for where, size in inside if where == path or where.startswith(path + "/"))
        own = max(0, anon - elsewhere)
        if own:
            groups.append(Group(path.rsplit("/", 1)[-1], None, own))
    return tuple(sorted(groups, key=lambda group: -group.anon))


def _grouped(named: Iterable[tuple[str, Process]]) -> tuple[Group, ...]:
    members: dict[str, list[Process]] = defaultdict(list)
    for name, process in named:
        members[name].append(process)
    groups = (
        Group(name, len(each), sum(p.anon for p in each), sum(p.pss for p in each), sum(p.swap for p in each))
        for name, each in members.items()
    )
    return tuple(sorted(groups, key=lambda group: -group.anon))


def _by_pid(text: str) -> Iterable[tuple[str, str]]:
    """(pid, rest) of lines like `/proc/12/comm:bash`."""
    for line in text.splitlines():
        path, colon, rest = line.partition(":")
        parts = path.split("/")
        if colon and len(parts) == 4 and parts[1] == "proc":
            yield parts[2], rest
