"""What Docker on a droplet must be like: versions, permission, storage, and how each container is configured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opsctl.jobs.containers import USE_SOCKET, engine_error
from opsctl.jobs.doctor_checks import Area, sections, version
from opsctl.jobs.doctor_host import disk_rows
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ExitCode, OpsError
from opsctl.model.examination import Check
from opsctl.model.ports import Script, Shell
from opsctl.model.stack import Droplet, Stack
from opsctl.model.units import parse_size, show_size

MIN_ENGINE, MIN_API, MIN_COMPOSE = (20, 10), (1, 41), (2, 20)
_ROTATING = {"local", "journald"}  # drivers that bound themselves, or leave it to the journal
_ODD_STORAGE = {"vfs", "devicemapper", "aufs", "btrfs", "zfs"}
_INSTALL = "https://docs.docker.com/engine/install/"
_FORMAT = (
    '{"name":{{json .Name}},"labels":{{json .Config.Labels}},"log":{{json .HostConfig.LogConfig}},'
    '"restart":{{json .HostConfig.RestartPolicy.Name}},"memory":{{json .HostConfig.Memory}},'
    '"running":{{json .State.Running}}}'
)
# Each call of the client costs a slow droplet a second: four, and the rest is read from their answers.
_READ = (
    USE_SOCKET
    + r"""
at() { printf '\n@@%s\n' "$1"; }
at which; command -v docker; command -v docker-compose
at ping; docker version --format '{{.Server.Version}} {{.Server.APIVersion}}' 2>&1; printf '\n@@pinged\n%s\n' $?
at info; info=$(docker info --format '{{json .}}' 2>/dev/null); printf '%s\n' "$info"
at containers; ids=$(docker ps -aq --no-trunc 2>/dev/null)
[ -z "$ids" ] || docker inspect --format "$1" $ids 2>/dev/null
[[ $info =~ \"DockerRootDir\":\"([^\"]+)\" ]] && root=${BASH_REMATCH[1]}
at logs; [ -z "$root" ] || stat -c '%s %n' "$root"/containers/*/*-json.log* 2>/dev/null
at disk; [ -z "$root" ] || df -PB1 "$root" 2>/dev/null
"""
)


def look(shell: Shell, stack: Stack, droplet: Droplet, *, cancel: Cancel) -> tuple[Check, ...]:
    """Read Docker in one call and judge it."""
    done = shell.run(Script(_READ, (droplet.socket or "", _FORMAT)), cancel=cancel, timeout=120)
    return judge(sections(done.text), stack)


def judge(found: Mapping[str, str], stack: Stack) -> tuple[Check, ...]:
    """What Docker said, judged."""
    area = Area("Docker")
    if not _engine(area, found):
        return tuple(area.checks)
    info = json.loads(found.get("info") or "{}")
    _compose(area, found, info)
    _kind(area, info)
    for place, total, free in disk_rows(found.get("disk", "")):
        if free < 2 * 10**9 or free / total < 0.1:
            area.warning(
                "room for images",
                f"{show_size(free)} free at {place}",
                "on the droplet: docker system df   (then prune by hand)",
            )
    containers = [json.loads(line) for line in found.get("containers", "").splitlines() if line.startswith("{")]
    if containers:
        _logs(area, containers, found.get("logs", ""))
        _policies(area, containers, stack)
        _limits(area, containers, int(info.get("MemTotal") or 0))
    return tuple(area.checks)


def _engine(area: Area, found: Mapping[str, str]) -> bool:
    if not any(line.endswith("/docker") for line in found.get("which", "").splitlines()):
        area.failed("engine", "Docker is not installed", _INSTALL, ExitCode.UNREACHABLE)
        return False
    said = found.get("ping", "")
    if found.get("pinged") != "0":
        error: OpsError = engine_error(1, said)
        area.error("engine", error, ExitCode.UNREACHABLE)
        return False
    engine, api, *_ = [*said.split(), "", ""]
    if version(engine) < MIN_ENGINE or version(api) < MIN_API:
        area.failed("engine", f"{engine} (API {api}); opsctl needs 20.10 (API 1.41)", _INSTALL, ExitCode.UNREACHABLE)
    else:
        area.ok("engine", f"{engine}, API {api}")
    return True


def _compose(area: Area, found: Mapping[str, str], info: Mapping[str, Any]) -> None:
    plugins = {
        each.get("Name"): each.get("Version") or "" for each in (info.get("ClientInfo") or {}).get("Plugins") or ()
    }
    there, mend = plugins.get("compose", ""), "apt-get install docker-compose-plugin   (Debian's own: docker-compose)"
    if version(there) >= MIN_COMPOSE:
        area.ok("compose", there)
    elif there:
        area.failed("compose", f"{there}; opsctl needs 2.20", mend, ExitCode.UNREACHABLE)
    elif "docker-compose" in found.get("which", ""):
        area.failed("compose", "only the old docker-compose (v1) is there", mend, ExitCode.UNREACHABLE)
    else:
        area.failed("compose", "`docker compose` (v2) is not installed", mend, ExitCode.UNREACHABLE)


def _kind(area: Area, info: Mapping[str, Any]) -> None:
    security = " ".join(info.get("SecurityOptions") or ())
    root = str(info.get("DockerRootDir") or "")
    if "name=rootless" in security:
        area.warning("kind", "rootless: reports work, changes are not supported", "use the system's Docker engine")
    elif "/snap/" in root:
        area.warning(
            "kind", "from snap: reports work, changes are not supported", f"install Docker's packages: {_INSTALL}"
        )
    driver = str(info.get("Driver") or "unknown")
    if driver in _ODD_STORAGE:
        area.warning("storage", f"{driver}: slow or fragile on a small droplet", "use overlay2")
    else:
        area.ok("storage", f"{driver} in {root or 'an unknown folder'}")
    area.ok(
        "cgroups", f"version {info.get('CgroupVersion') or 'unknown'}, driver {info.get('CgroupDriver') or 'unknown'}"
    )
    missing = [line for line in info.get("Warnings") or () if "memory" in line.lower()]
    if missing:
        area.warning("memory limits", "; ".join(missing), "boot with cgroup_enable=memory swapaccount=1")


def _label(container: Mapping[str, Any]) -> str:
    labels = container.get("labels") or {}
    return str(labels.get("com.docker.compose.service") or container["name"].lstrip("/"))


def rotation(log: Mapping[str, Any]) -> int | None:
    """How large a container's log can become, in bytes; None for without bound."""
    driver, options = log.get("Type", ""), log.get("Config") or {}
    if driver in _ROTATING or driver == "none":
        return 0
    if driver != "json-file":
        return 0  # it leaves the machine
    try:
        size = parse_size(options["max-size"]) if "max-size" in options else -1
    except ValueError:
        return None
    return None if size < 0 else size * int(options.get("max-file") or 1)


def _logs(area: Area, containers: Sequence[Mapping[str, Any]], sizes: str) -> None:
    unbounded = sorted(_label(each) for each in containers if rotation(each["log"]) is None)
    written = sum(int(line.split()[0]) for line in sizes.splitlines() if line.split())
    shown = f", {show_size(written)} now" if written else ""
    if unbounded:
        area.warning(
            "log rotation",
            f"logs without bound{shown}: {_some(unbounded)}",
            "in the compose file: logging: {driver: json-file, options: {max-size: 10m, max-file: '3'}}, then recreate",
        )
    else:
        bound = sum(rotation(each["log"]) or 0 for each in containers)
        area.ok("log rotation", f"every container's log is bounded ({show_size(bound)} in all{shown})")


def _policies(area: Area, containers: Sequence[Mapping[str, Any]], stack: Stack) -> None:
    late = {name for name, service in stack.services.items() if (service.phase or 1) > 1}
    fighting = sorted(_label(each) for each in containers if each["restart"] not in ("", "no") and _label(each) in late)
    if not fighting:
        area.ok("restart policies", "no service of a later phase comes back by itself before its gate")
        return
    area.warning(
        "restart policies",
        f"after a boot these start at once, before any gate: {_some(fighting)}",
        "on the droplet: docker update --restart=no " + " ".join(_names(containers, fighting)),
    )


def _names(containers: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> Iterator[str]:
    return (each["name"].lstrip("/") for each in containers if _label(each) in labels)


def _limits(area: Area, containers: Sequence[Mapping[str, Any]], total: int) -> None:
    above = sorted(_label(each) for each in containers if total and int(each["memory"] or 0) >= total)
    without = sorted(_label(each) for each in containers if not each["memory"] and each["running"])
    limits = sum(int(each["memory"] or 0) for each in containers if each["running"])
    if above:
        area.warning(
            "memory limits",
            f"a limit of {show_size(total)} or more never bites, the host runs out instead: {_some(above)}",
            "give it what it needs: opsctl memory report",
        )
    if without:
        area.warning(
            "no memory limit", _some(without), "set deploy.resources.limits.memory; opsctl memory report says how much"
        )
    if not above and not without:
        area.ok("memory limits", f"{show_size(limits)} in all for what runs, on {show_size(total)}")


def _some(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
