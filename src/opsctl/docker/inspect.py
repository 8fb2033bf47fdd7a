"""Containers as `docker container inspect` describes them. Pure.

The template asks for what is needed and nothing else: the environment, where the secrets are, stays on the host.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from opsctl.model.engine import Container, HealthResult

_FIELDS = {
    "id": ".Id",
    "name": ".Name",
    "labels": ".Config.Labels",
    "image": ".Config.Image",
    "image_id": ".Image",
    "state": ".State",
    "restarts": ".RestartCount",
    "policy": ".HostConfig.RestartPolicy.Name",
    "memory": ".HostConfig.Memory",
    "bindings": ".HostConfig.PortBindings",
    "published": ".NetworkSettings.Ports",
    "networks": ".NetworkSettings.Networks",
    "health": '(index .Config "Healthcheck")',  # the key is missing where an image has none: a field would fail
}
TEMPLATE = "{" + ",".join(f'"{name}":{{{{json {path}}}}}' for name, path in _FIELDS.items()) + "}"

_LABEL = "com.docker.compose."
_ENDED = ("exited", "dead", "restarting")
_AS_TOLD = (0, 143)  # exit codes: by itself, or by SIGTERM
_HEALTH_LOG = 3  # the engine keeps five; the last ones tell what is wrong


def parse_containers(output: str) -> tuple[Container, ...]:
    """One container a line, as TEMPLATE prints them; sorted by name."""
    found = (_container(json.loads(line)) for line in output.splitlines() if line.startswith("{"))
    return tuple(sorted(found, key=lambda container: container.name))


def _container(data: Mapping[str, Any]) -> Container:
    state = data.get("state") or {}
    labels = data.get("labels") or {}
    health = state.get("Health") or {}
    return Container(
        id=data["id"],
        name=str(data["name"]).removeprefix("/"),
        service=labels.get(f"{_LABEL}service", ""),
        project=labels.get(f"{_LABEL}project", ""),
        image=data.get("image") or "",
        image_id=data.get("image_id") or "",
        status=state.get("Status") or "",
        health="" if health.get("Status") in (None, "none") else str(health["Status"]),
        health_log=tuple(_health_log(health.get("Log") or ())),
        exit_code=int(state.get("ExitCode") or 0),
        oom_killed=oom_killed(state),
        error=state.get("Error") or "",
        restart_count=int(data.get("restarts") or 0),
        restart_policy=data.get("policy") or "no",
        started_at=_stamp(state.get("StartedAt")),
        finished_at=_stamp(state.get("FinishedAt")),
        pid=int(state.get("Pid") or 0),
        memory_limit=int(data.get("memory") or 0),
        ports=dict(_ports(data.get("bindings") or {}, data.get("published") or {})),
        addresses=tuple(_addresses(data.get("networks") or {})),
        config_hash=labels.get(f"{_LABEL}config-hash", ""),
        working_dir=labels.get(f"{_LABEL}project.working_dir", ""),
        config_files=tuple(filter(None, labels.get(f"{_LABEL}project.config_files", "").split(","))),
        health_test=_health_test((data.get("health") or {}).get("Test") or ()),
        oneoff=labels.get(f"{_LABEL}oneoff") == "True",
    )


def oom_killed(state: Mapping[str, Any]) -> bool:
    """Whether a container's end was the OOM killer's doing, as far as the engine's mark tells.

    Where a cgroup runs out, cgroup v1 tells all cgroups below it, and the engine marks each of their containers. So the
    mark says nothing of one that runs (its own counter does), nor of one that ended as it was told.
    """
    ended = state.get("Status") in _ENDED and state.get("ExitCode") not in _AS_TOLD
    return ended and bool(state.get("OOMKilled"))


def _stamp(value: object) -> str:
    text = str(value or "")
    return "" if text.startswith("0001-") else text


def _health_log(entries: Iterable[Mapping[str, Any]]) -> Iterable[HealthResult]:
    for entry in list(entries)[-_HEALTH_LOG:]:
        yield HealthResult(int(entry.get("ExitCode") or 0), str(entry.get("Output") or ""), str(entry.get("End") or ""))


def _ports(*sources: Mapping[str, Any]) -> Iterable[tuple[int, tuple[str, int]]]:
    # What is published right now comes last and wins: port 0 in the bindings means "any", known only then.
    for source in sources:
        for key, bindings in source.items():
            port, _, protocol = key.partition("/")
            for binding in (bindings or ())[:1]:
                published = str(binding.get("HostPort") or "0")
                if protocol == "tcp" and published.isdigit() and published != "0":
                    yield int(port), (binding.get("HostIp") or "0.0.0.0", int(published))  # noqa: S104 - as Docker says it


def _addresses(networks: Mapping[str, Any]) -> Iterable[str]:
    for network in networks.values():
        if (network or {}).get("IPAddress"):
            yield network["IPAddress"]


def _health_test(words: Iterable[Any]) -> tuple[str, ...]:
    test = tuple(str(word) for word in words)
    return () if test[:1] == ("NONE",) else test
