"""The env files of a droplet: what is in them by name, and one variable set or taken away. Values are never shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, cast

from opsctl.jobs.call import Call, carry_out
from opsctl.jobs.deploy import error_of, release_id, without_gone
from opsctl.jobs.deploy_actions import Put
from opsctl.jobs.deploy_drift import recreated
from opsctl.jobs.deploy_steps import DeployOperations
from opsctl.jobs.env_text import names, with_value, without
from opsctl.jobs.startup import merged
from opsctl.model.deploy import Bundle, Deployer, EnvChanged, EnvDiff, EnvFile, Source, Survey
from opsctl.model.errors import ConfigError, ExitCode, StepFailed, UsageError
from opsctl.model.plan import Plan, Step
from opsctl.model.ports import Script
from opsctl.model.result import DropletResult
from opsctl.model.secret import Secret

_READ = 'if [ -e "$1" ]; then exec cat -- "$1"; fi'


@dataclass(frozen=True)
class Where:
    """Which env file is meant: by its path or name, or as that of a service. "" where it is not said."""

    file: str = ""
    service: str = ""


def diff(call: Call, where: Where, local: bytes | None = None) -> DropletResult[EnvDiff]:
    """What differs in the env files since the current release; or between a local file and the droplet's."""
    engine = cast(Deployer, call.engine)
    now = engine.survey(Source("place"), cancel=call.cancel)
    files = env_files(now)
    if local is not None:
        path = _file(call, files, where, None)
        bundle = Bundle({path: (local.replace(b"\r\n", b"\n"), 0o600)})
        then = engine.survey(Source("push", bundle=bundle), cancel=call.cancel)
        found = _listed(call, then, {path: files.get(path, ())}, turned=False)
        return DropletResult(call.droplet.name, EnvDiff("the local file", found, tuple(recreated(then, then.images))))
    differs = tuple(recreated(now, now.images))
    current = next((each for each in now.releases if each.current), None)
    if current is None:
        found = tuple(EnvFile(path, by, len(_names(call, path)), (), (), ()) for path, by in files.items())
        return DropletResult(call.droplet.name, EnvDiff("", found, differs))
    back = engine.survey(Source("release", release=current.id, kinds=("env",)), cancel=call.cancel)
    return DropletResult(call.droplet.name, EnvDiff(current.id, _listed(call, back, files, turned=True), differs))


def set_value(call: Call, name: str, value: Secret, where: Where) -> DropletResult[EnvChanged]:
    """Set one variable."""
    return _edit(call, where, name, lambda text: with_value(text, name, value.reveal()))


def unset(call: Call, name: str, where: Where) -> DropletResult[EnvChanged]:
    """Take one variable away. Raises UsageError where no env file has it."""
    return _edit(call, where, name, lambda text: without(text, name), must=True)


def _edit(
    call: Call, where: Where, name: str, edit: Callable[[str], str], *, must: bool = False
) -> DropletResult[EnvChanged]:
    engine = cast(Deployer, call.engine)
    survey = engine.survey(Source("place"), cancel=call.cancel)
    files = env_files(survey)
    path = _file(call, files, where, name)
    before = _read(call, path).decode(errors="surrogateescape")
    if must and name not in names(before):
        raise UsageError(
            f"{path} has no {name}", why=f"it has {', '.join(names(before)) or 'nothing'}", next="opsctl env diff"
        )
    data = edit(before).encode(errors="surrogateescape")
    source = Source("push", bundle=Bundle({path: (data, 0o600)}))
    after = engine.survey(source, cancel=call.cancel)
    if before == data.decode(errors="surrogateescape"):
        changed = EnvChanged(call.dry_run, path, name, "unchanged", tuple(recreated(after, after.images)), None)
        return DropletResult(call.droplet.name, changed)
    staged = next(each for each in after.files if each.path == path)
    verb = "removed" if must else "changed" if name in names(before) else "added"
    action = Put(((path, staged.old, staged.new, "600"),))
    plan = Plan("env", (Step("put", f"write {path}: {name} {verb}", action),))
    need = tuple(recreated(after, after.images))
    if call.dry_run:
        return DropletResult(call.droplet.name, EnvChanged(True, path, name, verb, need, None))
    stack = merged(without_gone(call, after)[0], after.facts)
    name_of_run = release_id(call.entry.run_id)
    operations = DeployOperations(call, engine, plan, after.facts, stack, source, name_of_run)
    run = carry_out(call, plan, operations.handlers(), changes=True)
    code = run.exit_code
    done = EnvChanged(False, path, name, verb if code is ExitCode.DONE else "failed", need, run)
    return DropletResult(call.droplet.name, done, error_of(call, run), code)


def env_files(survey: Survey) -> dict[str, tuple[str, ...]]:
    """Every env file that compose reads here → the services that use it."""
    compose = survey.facts.compose_files
    folder = compose[0].rpartition("/")[0] if compose else ""
    found: dict[str, list[str]] = {}
    for name, body in (survey.raw.get("services") or {}).items():
        entries = (body or {}).get("env_file") or ()
        for each in [entries] if isinstance(entries, str) else entries:
            path = str(each.get("path") if isinstance(each, Mapping) else each)
            found.setdefault(path if path.startswith("/") else f"{folder}/{path}", []).append(name)
    by_name = {name for name, body in (survey.raw.get("services") or {}).items() if _interpolates(body)}
    for path in survey.interpolates:
        found[path] = sorted({*found.get(path, ()), *by_name})
    return {path: tuple(by) for path, by in found.items()}


def _interpolates(body: Any) -> bool:
    return re.search(r"\$\{?[A-Za-z_]", str(body).replace("$$", "")) is not None


def _file(call: Call, files: Mapping[str, Sequence[str]], where: Where, name: str | None) -> str:
    """The env file that is meant. Raises UsageError where it cannot be told, ConfigError where there is none."""
    if where.file:
        found = [path for path in files if path == where.file] or [
            path for path in files if PurePosixPath(path).name == where.file
        ]
    elif where.service:
        own = [path for path, by in files.items() if where.service in by]
        found = own[-1:]
    else:
        found = [path for path in files if name is not None and name in names(_text(call, path))]
        found = found or [path for path in call.droplet.env_file if path in files][:1]
        found = found or [path for path in files if _text(call, path)] or list(files)
    if len(found) == 1:
        return found[0]
    listed = ", ".join(files) or "none"
    if not files:
        raise ConfigError(
            f"compose reads no env file on {call.droplet.name}",
            why="neither `env_file:` of a service nor a .env beside the compose file",
            next=f"add `env_file: /path/.env` to droplet {call.droplet.name} in the stack file",
        )
    words = where.file or where.service
    raise UsageError(
        f"{words} is no env file of this stack" if words else "it cannot be told which env file is meant",
        why=f"compose reads {listed}",
        next=f"--file {next(iter(files))}",
    )


def _read(call: Call, path: str) -> bytes:
    answer = call.host.run(Script(_READ, (path,)), cancel=call.cancel, timeout=30.0)
    if answer.code != 0:
        raise StepFailed(f"{path} cannot be read", why=answer.error_text, next="opsctl doctor")
    return answer.stdout


def _text(call: Call, path: str) -> str:
    return _read(call, path).decode(errors="replace")


def _names(call: Call, path: str) -> tuple[str, ...]:
    return names(_text(call, path))


def _listed(call: Call, survey: Survey, files: Mapping[str, Sequence[str]], *, turned: bool) -> tuple[EnvFile, ...]:
    """`turned`: the survey looks from now back to a release, and the reader wants it the other way round."""
    staged = {each.path: each for each in survey.files}
    found = []
    for path, by in files.items():
        each = staged.get(path)
        added, removed = (each.added, each.removed) if each else ((), ())
        if turned:
            added, removed = removed, added
        count = len(_names(call, path))
        found.append(EnvFile(path, tuple(by), count, added, removed, each.changed if each else ()))
    return tuple(found)
