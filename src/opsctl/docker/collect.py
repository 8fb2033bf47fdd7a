"""The memory report's one remote call: the script, and its sections turned into facts."""

from __future__ import annotations

import gzip
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

from opsctl.docker import cgroup, procfs
from opsctl.docker.disk import parse_disk, parse_json, parse_logs
from opsctl.docker.inspect import oom_killed
from opsctl.docker.kernlog import parse_ooms
from opsctl.model.errors import StepFailed
from opsctl.model.memory_facts import ContainerFacts, Group, MemoryFacts, MemorySample, OomEvent, Usage
from opsctl.model.ports import Script

_DAEMON_UNITS = ("docker.service", "containerd.service")


@dataclass(frozen=True)
class Section:
    """One `@@name args` and what follows it."""

    name: str
    args: tuple[str, ...]
    text: str


def script(mode: str, socket: str | None, patience: float) -> Script:
    """The remote call: `full` or `sample`; `patience` in seconds for the engine's disk figures."""
    text = files("opsctl.docker").joinpath("collect.sh").read_text(encoding="utf-8")
    return Script(text, (mode, socket or "", f"{patience:g}"))


def unpack(output: bytes) -> Mapping[str, Sequence[Section]]:
    """The sections by name. Raises StepFailed for output that is not whole."""
    try:
        raw = gzip.decompress(output) if output[:2] == b"\x1f\x8b" else output
    except (OSError, EOFError, zlib.error):
        raw = b""
    found: dict[str, list[Section]] = defaultdict(list)
    for chunk in raw.decode(errors="replace").split("\n@@")[1:]:
        head, _, text = chunk.partition("\n")
        words = head.split()
        found[words[0]].append(Section(words[0], tuple(words[1:]), text))
    if "end" not in found or "meminfo" not in found:
        raise StepFailed(
            "the droplet's figures did not come through whole",
            why=f"{len(output)} bytes arrived, without their end",
            next="opsctl doctor",
        )
    return found


def facts(output: bytes) -> MemoryFacts:
    """Everything the report is made from. Raises StepFailed for output that is not whole."""
    return _Reading(unpack(output)).facts()


def sample(output: bytes) -> MemorySample:
    """The quick read's figures. Raises StepFailed for output that is not whole."""
    reading = _Reading(unpack(output))
    meminfo = reading.meminfo
    running = {each.id: each for each in reading.containers() if each.running}
    return MemorySample(meminfo.get("MemAvailable", 0), meminfo.get("MemTotal", 0), running)


class _Reading:
    """The sections of one call, each parsed when it is asked for."""

    def __init__(self, sections: Mapping[str, Sequence[Section]]) -> None:
        self._sections = sections
        who = self._args("who")
        self.uid, self.hostname, self.kernel, self.taken = who[0], who[1], who[2], int(who[3])
        own, view = self._args("view")
        self.nested = view != "-"
        self.outer = own if self.nested and own != "-" else ""
        version, *mount = self._args("cgroup") or ("",)
        self.version = int(version) if mount else None
        self.mount = mount[0] if mount else ""
        self.meminfo = procfs.parse_meminfo(self._text("meminfo"))
        self.files = _by_folder(self._text("cgroup"))
        engine = self._args("engine")
        self.problem = "" if engine[0] in ("api", "cli") else engine[0]
        self.socket = engine[1] if len(engine) > 1 else ""

    def _args(self, name: str) -> tuple[str, ...]:
        return self._sections[name][0].args if name in self._sections else ()

    def _text(self, name: str) -> str:
        return self._sections[name][0].text if name in self._sections else ""

    def facts(self) -> MemoryFacts:
        containers = self.containers()
        boot = self._args("boot")
        daemons, services, sources = self._groups(containers)
        root = _by_folder(self._text("root-cgroup")).get(self.mount, {})
        ooms, oom_source = self._ooms({each.id for each in containers})
        return MemoryFacts(
            hostname=self.hostname,
            kernel=self.kernel,
            taken=self.taken,
            root_user=self.uid == "0",
            nested=self.nested,
            cgroup_version=self.version,
            engine=self._info().get("ServerVersion", ""),
            engine_problem=self.problem,
            engine_socket=self.socket,
            engine_via="" if self.problem else self._args("engine")[0],
            meminfo=self.meminfo,
            vmstat=procfs.parse_vmstat(self._text("vmstat")),
            pressure=procfs.parse_pressure(_by_name(self._text("pressure")).get("memory", "")),
            boot_id=boot[0] if boot else "",
            uptime=float(boot[1]) if len(boot) > 1 else None,
            containers=containers,
            daemons=daemons,
            services=services,
            daemons_source=sources[0],
            services_source=sources[1],
            root=cgroup.root_cgroup(self.version or 2, root),
            ooms=ooms,
            oom_source=oom_source,
            disk=parse_disk(
                self._text("disk"),
                self._text("filesystems"),
                used_images={str(each.get("Image")) for each in self._inspected().values()},
                logs=None if self._logs() is None else sum((self._logs() or {}).values()),
            ),
        )

    def containers(self) -> tuple[ContainerFacts, ...]:
        """All containers the engine names; inspected where the call asked for that, else from the list."""
        inspected, listed = self._inspected(), self._listed()
        known = inspected or listed
        logs = self._logs()
        made = (_container(key, listed.get(key, {}), inspected.get(key, {}), logs) for key in known)
        return tuple(replace(each, memory=self._usage(each.id)) if each.running else each for each in made)

    def _usage(self, container: str) -> Usage:
        for folder, found in self.files.items():
            if container in folder:
                return cgroup.usage(self.version or 2, found)
        return Usage()

    def _json(self, name: str) -> list[Any]:
        return [value for line in self._text(name).splitlines() if line and (value := parse_json(line)) is not None]

    def _info(self) -> Mapping[str, Any]:
        return next((each for each in self._json("engine") if isinstance(each, dict) and "ServerVersion" in each), {})

    def _listed(self) -> dict[str, Mapping[str, Any]]:
        lists = [each for each in self._json("engine") if isinstance(each, list)]
        return {each["Id"]: each for each in (lists[-1] if lists else [])}

    def _inspected(self) -> dict[str, Mapping[str, Any]]:
        return {each["Id"]: each for each in self._json("inspect") if "Id" in each}

    def _logs(self) -> Mapping[str, int] | None:
        denied = "denied" in self._args("logs") or "logs" not in self._sections
        return None if denied else parse_logs(self._text("logs"))

    def _ooms(self, known: set[str]) -> tuple[tuple[OomEvent, ...] | None, str]:
        """None when the kernel log could not be read: it always has lines."""
        events: list[OomEvent] = []
        readable, source = False, ""
        for section in self._sections.get("kernel-log", ()):
            lines = section.text.splitlines()
            count = next((int(line.split()[1]) for line in reversed(lines) if line.startswith("@lines ")), 0)
            readable = readable or count > 0
            source = section.args[0]
            events += parse_ooms(lines, int(section.args[1]), known, self.outer)
        if self.nested:  # the log is the whole machine's: only what names one of our containers is ours
            events = [each for each in events if each.victim_id in known]
        return (tuple(events), source) if readable else (None, source)

    def _groups(
        self, containers: Sequence[ContainerFacts]
    ) -> tuple[tuple[Group, ...] | None, tuple[Group, ...] | None, tuple[str, str]]:
        """Docker's own processes, everything else, and where both come from."""
        processes = procfs.parse_processes(self._text("processes"), self._text("comm"), self._text("process-cgroups"))
        may_look = self.uid == "0"
        daemons = procfs.daemon_groups(processes) if may_look and processes else None
        if "all" in self._args("processes"):
            programs = procfs.program_groups(processes) if may_look and processes else None
            return daemons, programs, ("/proc/PID/smaps_rollup Pss_Anon",) * 2
        units, unit_source = _anon_by_unit(self._text("units"), self.mount), f"cgroup anon of units below {self.mount}"
        if not units:
            return daemons, None, ("/proc/PID/smaps_rollup Pss_Anon", unit_source)
        if daemons is None:  # without root the daemons' processes cannot be measured, but their units can
            own = {path: anon for path, anon in units.items() if path.rsplit("/", 1)[-1] in _DAEMON_UNITS}
            daemons = tuple(Group(path.rsplit("/", 1)[-1], None, anon) for path, anon in own.items()) or None
            rest = {path: anon for path, anon in units.items() if path not in own}
            inside = _container_anon(self.files, containers, self.mount)
            return daemons, procfs.unit_groups(rest, inside), (unit_source, unit_source)
        inside = _container_anon(self.files, containers, self.mount)
        inside += [(each.cgroup, each.anon) for each in processes if each.daemon]
        return daemons, procfs.unit_groups(units, inside), ("/proc/PID/smaps_rollup Pss_Anon", unit_source)


def _container(
    key: str, listed: Mapping[str, Any], inspected: Mapping[str, Any], logs: Mapping[str, int] | None
) -> ContainerFacts:
    state, config = inspected.get("State", {}), inspected.get("Config", {})
    labels = config.get("Labels") or listed.get("Labels") or {}
    name = inspected.get("Name") or next(iter(listed.get("Names") or ()), key[:12])
    return ContainerFacts(
        id=key,
        name=name.lstrip("/"),
        service=labels.get("com.docker.compose.service", ""),
        project=labels.get("com.docker.compose.project", ""),
        image=config.get("Image") or listed.get("Image", ""),
        status=state.get("Status") or listed.get("State", ""),
        started_at=state.get("StartedAt", ""),
        restarts=inspected.get("RestartCount"),
        oom_killed=oom_killed(state),
        exit_code=state.get("ExitCode", 0),
        configured_limit=(inspected.get("HostConfig") or {}).get("Memory"),
        memory=None,
        log_bytes=None if logs is None else logs.get(key, 0),
    )


def _container_anon(
    found: Mapping[str, Mapping[str, str]], containers: Sequence[ContainerFacts], mount: str
) -> list[tuple[str, int]]:
    """(cgroup path, anon) of every container that has a cgroup."""
    pairs = []
    for folder, texts in found.items():
        if any(each.id in folder for each in containers):
            anon = cgroup.flat(texts.get("memory.stat")).get("anon", 0)
            pairs.append((folder.removeprefix(mount), anon))
    return pairs


def _anon_by_unit(text: str, mount: str) -> dict[str, int]:
    """cgroup path → anon, from `grep -H` of memory.stat. Shared memory is told of for the whole host at once."""
    return {
        folder.removeprefix(mount): anon
        for folder, texts in _by_folder(text).items()
        if (anon := cgroup.flat(texts.get("memory.stat")).get("anon")) is not None
    }


def _by_folder(text: str) -> dict[str, dict[str, str]]:
    """`grep -H` output as folder → file → text."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for line in text.splitlines():
        path, colon, value = line.partition(":")
        if colon and path.startswith("/"):
            folder, _, name = path.rpartition("/")
            found[folder][name].append(value)
    return {folder: {name: "\n".join(lines) for name, lines in each.items()} for folder, each in found.items()}


def _by_name(text: str) -> dict[str, str]:
    return next(iter(_by_folder(text).values()), {})
