"""What it means when the engine or compose does not answer, and what to type next. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from opsctl.model.engine import EngineInfo
from opsctl.model.errors import ConfigError, UnreachableError
from opsctl.model.stack import Droplet

MIN_ENGINE = (20, 10)
MIN_COMPOSE = (2, 20)

_INSTALL_COMPOSE = "apt-get install docker-compose-plugin   # Docker's packages; Debian's own: docker-compose"


class Answer(Protocol):
    """A part of the remote script's answer."""

    @property
    def text(self) -> str:
        """stdout and stderr."""
        ...

    @property
    def code(self) -> int:
        """Exit status."""
        ...


def judge_engine(droplet: Droplet, sections: Mapping[str, Answer]) -> None:
    """Raise UnreachableError unless the engine answered."""
    if "nodocker" in sections:
        raise UnreachableError(
            f"there is no Docker on {droplet.name}",
            why="no `docker` command was found there",
            next="install Docker Engine 20.10 or newer: https://docs.docker.com/engine/install/",
            code="no-docker",
        )
    if "inspect" not in sections:
        raise UnreachableError(
            f"{droplet.name} gave half an answer",
            why="the reading script ended early",
            next="run it again; `opsctl doctor` looks closer",
            code="half-answer",
        )
    if sections["inspect"].code != 0:
        raise _engine_error(droplet, sections["inspect"].text.strip())


def _engine_error(droplet: Droplet, text: str) -> UnreachableError:
    low = text.lower()
    why = next((line.strip() for line in text.splitlines() if line.strip()), "it said nothing")
    if "permission denied" in low:
        return UnreachableError(
            f"no permission to use Docker's socket on {droplet.name}",
            why=why,
            next="as root there: usermod -aG docker USER, then log in again; or `docker: {sudo: always}` here",
            code="docker-permission",
        )
    if "cannot connect" in low or "connection refused" in low or "is the docker daemon running" in low:
        return UnreachableError(
            f"the Docker engine on {droplet.name} does not answer",
            why=why,
            next="opsctl recover   # starts the engine, then the services",
            code="engine-down",
        )
    return UnreachableError(
        f"Docker on {droplet.name} refuses to answer", why=why, next="opsctl doctor", code="engine-refused"
    )


def _version(text: str) -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else ()


def judge_compose(droplet: Droplet, sections: Mapping[str, Answer], info: EngineInfo) -> None:
    """Raise UnreachableError when engine or compose are missing or too old for what opsctl does."""
    if (engine := _version(info.version)) and engine < MIN_ENGINE:
        raise UnreachableError(
            f"Docker Engine {info.version} on {droplet.name} is too old",
            why="opsctl needs 20.10 (API 1.41) or newer",
            next="upgrade Docker: https://docs.docker.com/engine/install/",
            code="engine-too-old",
        )
    if not info.compose_version:
        standalone = "docker-compose" in (sections["socket"].text if "socket" in sections else "")
        raise UnreachableError(
            f"there is no compose v2 on {droplet.name}",
            why="only the old `docker-compose` (v1) is there" if standalone else "`docker compose` is not installed",
            next=f"on the droplet: {_INSTALL_COMPOSE}",
            code="compose-v1" if standalone else "no-compose",
        )
    if (compose := _version(info.compose_version)) and compose < MIN_COMPOSE:
        raise UnreachableError(
            f"compose {info.compose_version} on {droplet.name} is too old",
            why="opsctl needs 2.20 or newer",
            next=f"on the droplet: {_INSTALL_COMPOSE}",
            code="compose-too-old",
        )


def judge_config(droplet: Droplet, sections: Mapping[str, Answer], files: tuple[str, ...], projects: int) -> None:
    """Raise ConfigError when the compose file is missing, unreadable or invalid, or not the only one."""
    if not droplet.compose and not droplet.project and projects > 1:
        raise ConfigError(
            f"{droplet.name} runs {projects} compose projects",
            why="opsctl does not guess which one is meant",
            next=f"name one in the stack file: `project: NAME` or `compose: PATH` of droplet {droplet.name}",
        )
    config = sections.get("config")
    if config is not None and config.code == 0:
        return
    lines = [line.strip() for line in (config.text if config else "").splitlines() if line.strip()]
    # Warnings about unset variables come first, the error last.
    why = next((line for line in reversed(lines) if "level=warning" not in line), "compose said nothing")
    missing = "no such file" in why
    raise ConfigError(
        f"the compose file is missing on {droplet.name}" if missing else f"compose rejects the file on {droplet.name}",
        why=why,
        next=f"correct `compose:` of droplet {droplet.name} in the stack file"
        if missing
        else f"on the droplet: docker compose -f {files[0]} config -q",
        path=files[0] if files else None,
    )
