"""Whether the stack can come up here: compose file, images, variables, secrets' files, stores, gates."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import Any

from opsctl.jobs import gates_once
from opsctl.jobs.containers import USE_SOCKET
from opsctl.jobs.doctor_checks import Area
from opsctl.jobs.status import is_up
from opsctl.model.cancel import Cancel
from opsctl.model.engine import ProbeState, StackFacts
from opsctl.model.errors import ConfigError, ExitCode, OpsError
from opsctl.model.examination import Check
from opsctl.model.operate import Operator
from opsctl.model.ports import Script, Shell
from opsctl.model.stack import Droplet, Stack
from opsctl.model.stackfile_merge import merge

_PATIENCE = 4.0  # s that a gate gets here: what answers, answers at once
_UNSET = re.compile(r'"?\\?"?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\\?"? variable is not set')
_CONFIG = (
    USE_SOCKET
    + """
docker compose "$@" config -q 2>&1 >/dev/null
"""
)
_FILES = 'for file; do printf "@@%s\\n" "$file"; cat "$file" 2>/dev/null; echo; done'
_MODES = 'for file; do stat -c "%a %U:%G %n" "$file" 2>/dev/null || printf "none - %s\\n" "$file"; done'
_REDIS = (
    USE_SOCKET
    + """
timeout 5 docker exec "$1" sh -c 'redis-cli ping 2>&1 || valkey-cli ping 2>&1'
"""
)
_REDIS_LIKE = re.compile(r"(redis|valkey|dragonfly|keydb)", re.IGNORECASE)


def look(
    engine: Operator, shell: Shell, stack: Stack, droplet: Droplet, *, cancel: Cancel, gates: bool = True
) -> tuple[Check, ...]:
    """Read the stack's facts and judge them, then ask stores and gates once."""
    area = Area("stack")
    try:
        facts = engine.facts(cancel=cancel)
    except OpsError as error:
        if not isinstance(error, ConfigError) and error.exit_code is not ExitCode.UNREACHABLE:
            raise
        area.error("compose file", error)
        return tuple(area.checks)
    area.ok("compose file", f"{', '.join(facts.compose_files)}: {len(facts.compose)} services, project {facts.project}")
    try:
        stack = merge(stack, facts.compose, compose_file=next(iter(facts.compose_files), "docker-compose.yml"))
    except ConfigError as error:
        area.error("stack and compose", error)
    _images(area, facts)
    _drift(area, facts)
    _present(area, facts, stack)
    _variables(area, shell, facts, droplet, cancel)
    _env_files(area, shell, facts, droplet, cancel)
    _redis(area, shell, facts, droplet, cancel)
    asked = _gates(engine, shell, facts, stack, cancel) if gates else ()
    return (*area.checks, *asked)


def _images(area: Area, facts: StackFacts) -> None:
    missing = sorted(facts.missing_images)
    if not missing:
        area.ok("images", f"all {len(facts.compose)} are on the droplet")
        return
    built = [name for name in missing if facts.compose[name].has_build]
    verb = "build" if built else "pull"
    area.warning(
        "images",
        f"missing for {', '.join(missing)}: startup never pulls or builds",
        f"on the droplet: docker compose {_dash_f(facts)} {verb} {' '.join(missing)}",
    )


def _dash_f(facts: StackFacts) -> str:
    return " ".join(f"-f {path}" for path in facts.compose_files)


def _drift(area: Area, facts: StackFacts) -> None:
    if facts.drift:
        area.warning(
            "drift",
            f"not as the compose file says now: {', '.join(sorted(facts.drift))}",
            f"when it suits you, on the droplet: docker compose {_dash_f(facts)} up -d --no-deps SERVICE",
        )
    else:
        area.ok("drift", "every container is as the compose file says")


def _present(area: Area, facts: StackFacts, stack: Stack) -> None:
    """D5's 'is the agent there?': every service of the stack file, in the compose file and as a container."""
    absent = sorted(name for name in stack.services if name not in facts.compose)
    if absent:
        area.failed(
            "services", f"in the stack file, not in compose: {', '.join(absent)}", "opsctl config show", ExitCode.CONFIG
        )
        return
    up = [name for name in facts.compose if (found := facts.of(name)) and is_up(found)]
    made = [name for name in facts.compose if facts.of(name)]
    area.ok("services", f"{len(facts.compose)} known, {len(made)} created, {len(up)} running   (opsctl status)")


def _variables(area: Area, shell: Shell, facts: StackFacts, droplet: Droplet, cancel: Cancel) -> None:
    words = [word for path in facts.compose_files for word in ("-f", path)]
    words += [word for path in droplet.env_file for word in ("--env-file", path)]
    done = shell.run(Script(_CONFIG, (droplet.socket or "", *words)), cancel=cancel, timeout=60)
    unset = unset_variables(done.text)
    if unset:
        where = droplet.env_file[0] if droplet.env_file else ".env beside the compose file"
        area.warning("variables", f"unset, and so empty: {', '.join(unset)}", f"set them in {where}")
    else:
        area.ok("variables", "every ${VARIABLE} of the compose file is set")


def unset_variables(text: str) -> list[str]:
    """The names in compose's warnings, each once."""
    return list(dict.fromkeys(match["name"] for match in _UNSET.finditer(text)))


def _env_files(area: Area, shell: Shell, facts: StackFacts, droplet: Droplet, cancel: Cancel) -> None:
    done = shell.run(Script(_FILES, facts.compose_files), cancel=cancel, timeout=30)
    wanted = {**env_files(done.text), **dict.fromkeys(droplet.env_file, True)}
    if not wanted:
        return
    modes = shell.run(Script(_MODES, tuple(wanted)), cancel=cancel, timeout=30).text
    open_to_all, missing, fine = list[str](), list[str](), 0
    for line in modes.splitlines():
        mode, _, path = line.split(" ", 2)
        if mode == "none":
            missing += [path] if wanted[path] else []
        elif int(mode[-1]) & 4:
            open_to_all.append(path)
        else:
            fine += 1
    if open_to_all:
        area.warning(
            "env files",
            f"secrets that every user there can read: {', '.join(open_to_all)}",
            f"chmod 640 {' '.join(open_to_all)}",
        )
    if missing:
        area.warning("env files", f"not readable or not there: {', '.join(missing)}", "create them, or sudo")
    if fine and not open_to_all and not missing:
        area.ok("env files", f"{fine}, closed to other users")


def env_files(text: str) -> dict[str, bool]:
    """The env files that compose files name, and the `.env` beside each → whether it must be there.

    `text` is as the script prints the files.
    """
    found: dict[str, bool] = {}
    for part in text.split("@@")[1:]:
        path, _, content = part.partition("\n")
        folder = posixpath.dirname(path)
        found.setdefault(posixpath.join(folder, ".env"), False)
        for name, required in _named(content):
            full = posixpath.normpath(posixpath.join(folder, name))
            found[full] = required or found.get(full, False)
    return found


def _named(content: str) -> list[tuple[str, bool]]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document: Any = YAML(typ="safe", pure=True).load(content) or {}
    except YAMLError:
        return []
    names: list[tuple[str, bool]] = []
    for service in (document.get("services") or {}).values():
        given = (service or {}).get("env_file") or []
        for each in [given] if isinstance(given, str | Mapping) else given:
            if isinstance(each, Mapping):
                names.append((str(each.get("path", "")), bool(each.get("required", True))))
            else:
                names.append((str(each), True))
    return [(name, required) for name, required in names if name and "$" not in name]


def _redis(area: Area, shell: Shell, facts: StackFacts, droplet: Droplet, cancel: Cancel) -> None:
    """D5's first question, asked inside the container."""
    for name, service in facts.compose.items():
        found = facts.of(name)
        image = service.image.rsplit("/", 1)[-1].split(":")[0]
        if not found or found.status != "running" or not (_REDIS_LIKE.search(name) or _REDIS_LIKE.search(image)):
            continue
        done = shell.run(Script(_REDIS, (droplet.socket or "", found.id)), cancel=cancel, timeout=20)
        said = done.text.strip().splitlines()[-1] if done.text.strip() else done.error_text or "nothing"
        if "PONG" in said or "NOAUTH" in said:
            area.ok(name, "answers PING" if "PONG" in said else "answers, and asks for a password")
        elif done.code in (126, 127):
            area.unknown(name, "the container has no redis-cli", "")
        else:
            area.failed(name, f"does not answer PING: {said}", f"opsctl logs {name} --since 10m")


def _gates(engine: Operator, shell: Shell, facts: StackFacts, stack: Stack, cancel: Cancel) -> tuple[Check, ...]:
    specs = gates_once.specs(facts, stack, patience=_PATIENCE)
    if not specs:
        area = Area("gates")
        area.unknown("gates", "no service with a gate runs now", "opsctl startup --phase 1")
        return tuple(area.checks)
    return judge_gates((each.service for each in specs), gates_once.ask(engine, shell, specs, cancel=cancel))


def judge_gates(services: Iterable[str], states: Mapping[str, ProbeState]) -> tuple[Check, ...]:
    """The last state of each gate."""
    area = Area("gates")
    for name in services:
        state = states.get(name)
        if state is None:
            area.unknown(name, "the probe said nothing", f"opsctl logs {name}")
        elif state.state == "passed":
            area.ok(name, state.detail)
        else:
            area.failed(name, f"{state.state}: {state.detail}", f"opsctl logs {name} --since 10m")
    return tuple(area.checks)
