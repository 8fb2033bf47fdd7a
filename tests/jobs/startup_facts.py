"""Facts and stacks for the tests of plans."""

from __future__ import annotations

from collections.abc import Mapping

from opsctl.model.engine import ComposeService, Container, EngineInfo, MemInfo
from opsctl.model.operate import DropletFacts
from opsctl.model.plan import Plan, Step
from opsctl.model.stack import Droplet, Gate, Service, Stack

MB = 1_000_000
DROPLET = Droplet("d", "root@h", compose=("/c.yml",), reserve=200 * MB)
ENGINE = EngineInfo("26.1.5", "2.26.1", False, False, "2", "systemd", "/var/lib/docker", "/run/docker.sock")


def compose(
    name: str, depends: Mapping[str, str] | None = None, *, limit: int = 0, build: bool = False
) -> ComposeService:
    return ComposeService(name, f"{name}:1", build, depends or {}, {}, (), limit, "always", ())


def container(
    service: str, status: str = "running", *, health: str = "", exit_code: int = 0, pid: int = 1, project: str = "p"
) -> Container:
    over = status in ("exited", "dead")
    return Container(
        id=f"id-{service}",
        name=f"{project}-{service}-1",
        service=service,
        project=project,
        image=f"{service}:1",
        image_id="sha",
        status=status,
        health=health,
        health_log=(),
        exit_code=exit_code,
        oom_killed=False,
        error="",
        restart_count=0,
        restart_policy="always",
        started_at="" if status == "created" else "2026-01-01T00:00:00Z",
        finished_at="2026-01-01T00:00:01Z" if over else "",
        pid=pid,
        memory_limit=0,
        ports={},
        addresses=(),
        config_hash="",
        working_dir="/",
        config_files=("/c.yml",),
    )


def facts(
    services: list[ComposeService],
    containers: list[Container] | None = None,
    *,
    available: int = 1500 * MB,
    drift: frozenset[str] = frozenset(),
    missing_images: frozenset[str] = frozenset(),
    done: Mapping[str, str] | None = None,
) -> DropletFacts:
    return DropletFacts(
        engine=ENGINE,
        memory=MemInfo(2000 * MB, available, available, 0, 0),
        boot_id="b",
        uptime=1.0,
        project="p",
        compose_files=("/c.yml",),
        compose={each.name: each for each in services},
        containers=tuple(containers or ()),
        drift=drift,
        missing_images=missing_images,
        file_hash="h",
        done=done or {},
    )


def stack(*services: Service) -> Stack:
    return Stack(None, {"d": DROPLET}, {each.name: each for each in services})


def service(name: str, phase: int | None = 1, **more: object) -> Service:
    return Service(name, phase=phase, **{"memory": 50 * MB, "gate": Gate(http=":80/health"), **more})  # type: ignore[arg-type]


def ids(plan: Plan) -> list[str]:
    return [step.id for step in plan.steps]


def by_id(plan: Plan) -> dict[str, Step]:
    return {step.id: step for step in plan.steps}
