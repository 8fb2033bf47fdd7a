"""The one remote call behind `why`: the script, and its sections turned into facts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from opsctl.docker.diagnose import shortened
from opsctl.docker.diagnose_causes import find_cause
from opsctl.docker.facts import MARK, Section, parse_meminfo, split
from opsctl.docker.inspect import TEMPLATE, parse_containers
from opsctl.docker.kernlog import parse_kills
from opsctl.model.cancel import Cancel
from opsctl.model.engine import Container
from opsctl.model.errors import StepFailed
from opsctl.model.operate import Diagnosis
from opsctl.model.ports import Script, Shell
from opsctl.model.stack import Droplet
from opsctl.model.why import KernelKill, Room, WhyFacts

_BOUND = 120.0  # s; an emulated machine that boots takes its time
_STATE_DIR = "/var/lib/opsctl"
_LOG_LINES = (6, 20)  # of each service with which something is wrong, of the one that was asked for
_OOM_LINE = re.compile(
    r"oom-kill:|invoked oom-killer|Killed process|memory: usage|^@lines |\[ *\d+\] +\d+ +\d+ +\d+ +\d+ +"
)

_ROW = re.compile(r"^@@row ([0-9a-f]{64}) (\S+) ?(\S*)$", re.MULTILINE)


@cache
def _text() -> str:
    return Path(__file__).with_name("why.sh").read_text(encoding="utf-8")


class DockerWhy:
    """Implements the port WhyReader for one droplet."""

    def __init__(self, droplet: Droplet, *, state_dir: str = _STATE_DIR) -> None:
        self._droplet = droplet
        self._state_dir = state_dir

    def read(self, shell: Shell, *, service: str, cancel: Cancel) -> WhyFacts:
        """As WhyReader.read."""
        done = shell.run(why_script(self._droplet, service, self._state_dir), cancel=cancel, timeout=_BOUND)
        return parse_why(done.text)


def why_script(droplet: Droplet, service: str, state_dir: str) -> Script:
    """The script; changes nothing."""
    lines = _LOG_LINES[bool(service)]
    return Script(_text(), (MARK, droplet.socket or "", TEMPLATE, service, str(lines), state_dir))


def parse_why(output: str) -> WhyFacts:
    """What the script printed. Raises StepFailed for output that is not whole."""
    found = split(output)
    if "machine" not in found or "processes" not in found:
        raise StepFailed("the droplet gave half an answer", why="the reading script ended early", next="opsctl doctor")
    first = dict(line.split(" ", 1) for line in found["machine"].text.split("\n") if " " in line and ":" not in line)
    engine, nested = found.get("engine", Section("", 1)), first.get("nested") != "-"
    containers = parse_containers(engine.text)
    names = dict(_named(found.get("named", Section("", 1)).text))
    names |= {ident: service or name for ident, name, service in _ROW.findall(engine.text)}
    known = {each.id for each in containers} | set(names)
    gone = dict(_named(found.get("events", Section("", 1)).text))
    outer = first["self"] if nested and first.get("self", "-") != "-" else ""
    kills, before_known = _kills(found, known, outer, nested)
    processes, comms = _processes(found["processes"].text)
    ended = found.get("ended", Section("", 1)).text.splitlines()
    last = next((line.split(" ", 2)[1] for line in ended if line.startswith("last ") and line.count(" ") > 1), "")
    return WhyFacts(
        boot_id=first.get("boot", ""),
        uptime=float((first.get("uptime") or "0").split()[0]),
        now=int(first.get("now") or 0),
        nested=nested,
        root_user=first.get("uid") == "0",
        cpus=int(first.get("cpus") or 1),
        load=float((first.get("load") or "0").split()[0]),
        memory=parse_meminfo(found["machine"].text),
        stalled={} if nested else dict(_stalled(found.get("pressure", Section("", 1)).text)),
        rooms=tuple(_rooms(found.get("disks", Section("", 1)).text)),
        engine_error="" if engine.code == 0 else _said(engine),
        engine_code=engine.code,
        engine_said=tuple(line for line in found.get("broken", Section("", 0)).text.splitlines() if line.strip()),
        containers=containers,
        names={**gone, **names, **{each.id: each.service or each.name for each in containers}},
        looked=_looked(containers, _logs(engine.text), kills or ()),
        kills=kills,
        before_known=before_known,
        signs=() if nested else tuple(_signs(found)),
        clean_end=any(line.startswith("clean ") for line in ended) if last else None,
        last_sign=last,
        processes=processes,
        programs=dict(re.findall(r"^@@program ([0-9a-f]+) (?:\S*/)?(\S+)$", engine.text, re.MULTILINE)),
        comms=comms,
        audit=tuple(_audit(found.get("audit", Section("", 1)).text)),
    )


def _looked(
    containers: tuple[Container, ...], logs: Mapping[str, tuple[str, ...]], kills: tuple[KernelKill, ...]
) -> dict[str, Diagnosis]:
    """A diagnosis of each container whose log was read."""
    return {each.id: _diagnosis(each, logs[each.id], kills) for each in containers if each.id in logs}


def _diagnosis(container: Container, log: tuple[str, ...], kills: tuple[KernelKill, ...]) -> Diagnosis:
    # Only what happened since its last start counts; the kernel's clock may be off by a second.
    since = container.started_at[:19]
    ended = container.status != "running" and (container.oom_killed or container.exit_code == 137)
    own = [
        each
        for each in kills
        if each.event.victim_id == container.id and each.event.boot == 0 and (ended or each.event.time[:19] >= since)
    ]
    oom = own[-1].event.scope if own and ended else "unknown" if container.oom_killed and ended else ""
    return find_cause(
        Diagnosis(
            service=container.service or container.name,
            status=container.status,
            exit_code=container.exit_code,
            restarts=container.restart_count,
            oom=oom,
            memory_limit=container.memory_limit,
            error=container.error,
            health_log=container.health_log,
            log=log,
            kernel=tuple(shortened(each.line) for each in own[-2:]),
            memory=None,
            disk_free=None,
            cause="",
            advice="",
        )
    )


def _kills(
    found: Mapping[str, Section], known: set[str], outer: str, nested: bool
) -> tuple[tuple[KernelKill, ...] | None, bool]:
    """None when the kernel log could not be read: it always has lines."""
    kills, readable = list[KernelKill](), {"kernel": False, "kernel-before": False}
    for name, boot in (("kernel-before", -1), ("kernel", 0)):
        lines = found[name].text.splitlines() if name in found else []
        count = next((int(line.split()[1]) for line in reversed(lines) if line.startswith("@lines ")), 0)
        readable[name] = count > 0
        kills += parse_kills([line for line in lines if _OOM_LINE.search(line)], boot, known, outer)
    # In a droplet that is a container the log is the whole machine's: only what names this droplet is its own.
    own = tuple(each for each in kills if each.own or not nested)
    return (own if readable["kernel"] or own else None), readable["kernel-before"]


def _signs(found: Mapping[str, Section]) -> Iterator[tuple[int, str]]:
    for name, boot in (("kernel-before", -1), ("kernel", 0)):
        for line in found[name].text.splitlines() if name in found else ():
            if line.strip() and not _OOM_LINE.search(line):
                yield boot, line.strip()


def _named(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "named":
            yield words[1], words[2].lstrip("/")


def _said(section: Section) -> str:
    if section.code == 124:  # timeout's
        return "it takes connections and answers nothing"
    lines = [line.strip() for line in section.text.splitlines() if line.strip()]
    return lines[-1][:300].removesuffix(" Is the docker daemon running?") if lines else f"exit status {section.code}"


def _logs(text: str) -> dict[str, tuple[str, ...]]:
    logs: dict[str, tuple[str, ...]] = {}
    for part in ("\n" + text).split("\n@@log ")[1:]:
        head, _, body = part.partition("\n")
        logs[head.strip()] = tuple(line for line in body.splitlines() if line.strip())
    return logs


def _stalled(text: str) -> Iterator[tuple[str, float]]:
    for name, value in re.findall(r"/proc/pressure/(\w+):some .*?avg60=([\d.]+)", text):
        yield name, float(value)


def _rooms(text: str) -> Iterator[Room]:
    for line in text.splitlines():
        words = line.split(None, 4)
        if len(words) == 5 and all(each.isdigit() for each in words[1:4]) and words[1] != "0":
            factor = 1024 if words[0] == "space" else 1
            size, used, free = (int(each) * factor for each in words[1:4])
            yield Room(words[0], words[4], size, used, free)


def _processes(text: str) -> tuple[dict[str, str], dict[str, str]]:
    processes: dict[str, str] = {}
    comms: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split(" ", 2)
        if words[0] == "comm" and len(words) == 3:
            comms[words[1]] = words[2]
        elif len(words) == 2 and words[0].isdigit():
            processes[words[0]] = words[1]
    return processes, comms


def _audit(text: str) -> Iterator[Mapping[str, object]]:
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value
