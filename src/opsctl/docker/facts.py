"""Everything `startup` decides from, in one remote script, and the reading of its answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from opsctl.docker.compose import ComposeCall, missing_images, parse_drift, parse_services
from opsctl.docker.facts_errors import judge_compose, judge_config, judge_engine
from opsctl.docker.inspect import TEMPLATE, parse_containers
from opsctl.docker.release_list import parse_begun
from opsctl.model.boot import BootState, parse_boot
from opsctl.model.engine import Container, EngineInfo, MemInfo
from opsctl.model.errors import ConfigError
from opsctl.model.operate import DropletFacts
from opsctl.model.ports import Script
from opsctl.model.stack import Droplet

MARK = "@@opsctl-section"

# Every section runs at once in a process of its own and is read through a pipe: resolved configuration holds
# secrets, and so never touches a disk.

_INFO = (
    '{"version":{{json .ServerVersion}},"security":{{json .SecurityOptions}},"cgroup":{{json .CgroupVersion}},'
    '"driver":{{json .CgroupDriver}},"root":{{json .DockerRootDir}},"plugins":{{json .ClientInfo.Plugins}}}'
)


@dataclass(frozen=True)
class Section:
    """One part of the answer: its text (stdout and stderr together) and its exit status."""

    text: str
    code: int

    def document(self) -> dict[str, Any]:
        """The JSON object in it; warnings may stand before."""
        start = 0 if self.text.startswith("{") else self.text.find("\n{") + 1
        value, _ = json.JSONDecoder().raw_decode(self.text[start:] or "{}")
        return value if isinstance(value, dict) else {}


@cache
def _text() -> str:
    return Path(__file__).with_name("facts.sh").read_text(encoding="utf-8")


def facts_script(droplet: Droplet, *, state_dir: str) -> Script:
    """The script that reads a droplet; changes nothing."""
    files, envs = droplet.compose, droplet.env_file
    return Script(
        _text(),
        (
            MARK,
            TEMPLATE,
            (droplet.socket or "").removeprefix("unix://"),
            droplet.project or "",
            state_dir,
            _INFO,
            str(len(files)),
            *files,
            str(len(envs)),
            *envs,
        ),
    )


def split(output: str) -> dict[str, Section]:
    """The sections of the script's output by name."""
    found: dict[str, Section] = {}
    name, lines = "", list[str]()
    for line in output.split("\n"):
        if not line.startswith(MARK):
            lines.append(line)
            continue
        words = line.split()
        if words[1] == "rc":
            found[name] = Section("\n".join(lines).strip("\n"), int(words[2]))
        else:
            name, lines = words[1], []
    return found


def parse_facts(droplet: Droplet, output: str) -> tuple[DropletFacts, ComposeCall]:
    """The facts, and how compose is to be called from now on. Raises UnreachableError or ConfigError."""
    sections = split(output)
    info = engine_info(sections)
    judge_engine(droplet, sections)
    judge_compose(droplet, sections, info)
    call, file_hash, others = _call(droplet, sections)
    judge_config(droplet, sections, call.files, others)
    config = sections["config"].document()
    raw = sections["raw"].document() if "raw" in sections and sections["raw"].code == 0 else {}
    project = str(config.get("name") or call.project)
    services = parse_services(config, raw)
    containers = parse_containers(sections["inspect"].text)
    boot_id, uptime, memory, done, boot = parse_machine(sections["machine"].text)
    begun = next((line for line in sections["machine"].text.split("\n") if line.startswith("begun ")), "")
    facts = DropletFacts(
        engine=info,
        memory=memory,
        boot_id=boot_id,
        uptime=uptime,
        project=project,
        compose_files=call.files,
        compose=services,
        containers=containers,
        drift=parse_drift(sections["dryrun"].text, _of(project, containers)),
        missing_images=missing_images(services, sections["images"].text.split(), containers, project),
        file_hash=file_hash,
        done=done,
        boot=boot,
        begun=parse_begun(begun),
    )
    return facts, ComposeCall(call.files, call.env_files, project, call.working_dir)


def _of(project: str, containers: tuple[Container, ...]) -> tuple[Container, ...]:
    return tuple(container for container in containers if container.project == project)


def _call(droplet: Droplet, sections: Mapping[str, Section]) -> tuple[ComposeCall, str, int]:
    if "call" not in sections:
        raise ConfigError(
            f"no compose file is known for {droplet.name}",
            why="the stack file names none, and no container there belongs to a compose project",
            next=f"add `compose: /path/to/docker-compose.yml` to droplet {droplet.name} in the stack file",
        )
    file_hash, project, working_dir, others, *files = sections["call"].text.split("\n")
    return ComposeCall(tuple(files), droplet.env_file, project, working_dir), file_hash, int(others)


def engine_info(sections: Mapping[str, Section]) -> EngineInfo:
    """What `docker info` said, as far as it said anything."""
    info = sections["info"].document() if "info" in sections and "{" in sections["info"].text else {}
    socket, *binaries = (sections["socket"].text if "socket" in sections else "").split("\n")
    plugins = {each.get("Name"): each.get("Version") or "" for each in info.get("plugins") or ()}
    security = " ".join(info.get("security") or ())
    root = str(info.get("root") or "")
    return EngineInfo(
        version=str(info.get("version") or ""),
        compose_version=str(plugins.get("compose") or "").lstrip("v"),
        rootless="name=rootless" in security,
        snap="/snap/" in root or any(path.startswith("/snap/") for path in binaries),
        cgroup_version=str(info.get("cgroup") or ""),
        cgroup_driver=str(info.get("driver") or ""),
        root_dir=root,
        socket=socket.removeprefix("unix://"),
    )


_KIB = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE)


def parse_meminfo(text: str) -> MemInfo:
    """/proc/meminfo, in bytes. Kernels before 3.14 have no MemAvailable: free and cache stand in for it."""
    values = {name: int(size) * 1024 for name, size in _KIB.findall(text)}
    free = values.get("MemFree", 0)
    return MemInfo(
        total=values.get("MemTotal", 0),
        available=values.get("MemAvailable", free + values.get("Cached", 0)),
        free=free,
        swap_total=values.get("SwapTotal", 0),
        swap_free=values.get("SwapFree", 0),
    )


def parse_machine(text: str) -> tuple[str, float, MemInfo, dict[str, str], BootState]:
    """Boot id, uptime in seconds, memory, the marks of the `then` steps, and what is remembered of the boot."""
    first: dict[str, str] = {}
    done: dict[str, str] = {}
    for line in text.split("\n"):
        if line.startswith("./"):
            service, _, mark = line[2:].partition(":")
            done[service] = mark
        elif " " in line:
            word, rest = line.split(" ", 1)
            first.setdefault(word, rest.strip())
    up = float((first.get("uptime") or "0").split()[0])
    return first.get("boot", ""), up, parse_meminfo(text), done, parse_boot(first.get("boot.json", ""))
