"""What a deploy does not do, and why: before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opsctl.jobs.deploy_options import Options
from opsctl.model.deploy import Source, StagedFile, Survey
from opsctl.model.errors import ConfigError, OpsError, StepFailed, UsageError
from opsctl.model.stack import Stack


@dataclass(frozen=True)
class Move:
    """A mount whose source changes: whose, where in the container, from which folder to which on the host."""

    service: str
    target: str
    old: str
    new: str


def moves(survey: Survey, services: Sequence[str]) -> tuple[Move, ...]:
    """The data mounts that the new state takes from elsewhere."""
    found = []
    for name in services:
        container = survey.facts.of(name)
        body = (survey.model.get("services") or {}).get(name) or {}
        if container is None:
            continue
        was = {str(each.get("Destination")): each for each in survey.mounts.get(container.id, ())}
        for each in body.get("volumes") or ():
            before = was.get(str(each.get("target")))
            if before is None or not before.get("RW", True) or each.get("read_only"):
                continue
            old, new = str(before.get("Source") or ""), _place(survey, each)
            if old and new and old.rstrip("/") != new.rstrip("/"):
                found.append(Move(name, str(each.get("target")), old, new))
    return tuple(found)


def _place(survey: Survey, mount: Mapping[str, object]) -> str:
    """The folder on the host where a mount of the configuration keeps its data; "" where it cannot be said."""
    if mount.get("type") == "bind":
        return str(mount.get("source") or "")
    if mount.get("type") != "volume" or not mount.get("source"):
        return ""
    declared = (survey.model.get("volumes") or {}).get(mount["source"]) or {}
    name = str(declared.get("name") or f"{survey.facts.project}_{mount['source']}")
    known = survey.volumes.get(name)
    return str(known["Mountpoint"]) if known else f"{survey.facts.engine.root_dir}/volumes/{name}/_data"


def refuse_volumes(survey: Survey) -> None:
    """Raise StepFailed where a volume that exists is declared with another driver or other options."""
    for key, declared in (survey.model.get("volumes") or {}).items():
        body = declared or {}
        if body.get("external"):
            continue
        name = str(body.get("name") or f"{survey.facts.project}_{key}")
        known = survey.volumes.get(name)
        if known is None:
            continue
        wanted, have = dict(body.get("driver_opts") or {}), dict(known.get("Options") or {})
        driver = str(body.get("driver") or "local")
        if {k: str(v) for k, v in wanted.items()} != have or driver != known.get("Driver"):
            raise StepFailed(
                f"the volume {key} would have to be recreated, and with it its data would be lost",
                why=f"its driver or driver_opts differ from those of {name}: compose offers to remove it",
                next="give the volume another name in the compose file, and move the data with the service stopped",
                code="volume-changed",
            )


def refuse_moves(found: Sequence[Move], state: Mapping[str, str], moved: Sequence[str], command: str) -> None:
    """Raise StepFailed for data that would be left behind. `state`: folder → full, empty or unknown.

    `command` is the one that was typed.
    """
    for move in found:
        old, new = state.get(move.old, "unknown"), state.get(move.new, "unknown")
        if old == "empty":
            continue
        if new == "empty":
            raise StepFailed(
                f"{move.service} would start on an empty {move.target}: its data would be left behind",
                why=f"it is in {move.old}, and {move.new} is empty",
                next=f"opsctl stop {move.service}\n"
                f"on the droplet: mkdir -p {move.new}; cp -a {move.old}/. {move.new}/\n"
                f"{command} --data-moved {move.service}",
                code="data-left",
            )
        if move.service not in moved:
            raise StepFailed(
                f"{move.service} would find other data in {move.target}",
                why=f"it writes to {move.old}; {move.new} holds data too, perhaps of long ago",
                next=f"{command} --data-moved {move.service}   # if you have moved the data yourself",
                code="data-stale",
            )


def refuse_names(survey: Survey, stack: Stack, options: Options) -> None:
    """Raise UsageError for a service or a phase that is not there."""
    unknown = [name for name in options.data_moved if name not in survey.facts.compose]
    if unknown:
        raise UsageError(
            f"--data-moved: there is no service {unknown[0]}",
            why=f"the compose file has {', '.join(survey.facts.compose)}",
            next="opsctl status",
        )
    last = max((each.phase or 0 for each in stack.services.values()), default=0)
    if options.phase is not None and not 1 <= options.phase <= max(last, 1):
        raise UsageError(
            f"the stack has no phase {options.phase}",
            why=f"its phases are 1 to {last}" if last > 1 else "its only phase is 1",
            next=f"opsctl deploy --phase {last or 1}",
        )


def refuse_project(survey: Survey, previous: str) -> None:
    """Raise ConfigError where the new file makes another compose project."""
    if previous and survey.facts.project != previous:
        raise ConfigError(
            f"the new compose file is of project {survey.facts.project}, and {previous} runs",
            why="compose would create a second stack beside the first",
            next=f"add `name: {previous}` to the compose file, or `project: {previous}` to the stack file",
        )


def kept_already(survey: Survey) -> tuple[str, ...]:
    """What is not committed in the checkout, but is kept as it is in the current release: nothing of it can be lost."""
    checkout = survey.checkout
    current = next((each for each in survey.releases if each.current), None)
    if checkout is None or current is None:
        return ()
    kept = {path for path in current.files if path not in (*current.moved, *current.moved_env)}
    return tuple(path for path in checkout.dirty if f"{checkout.top}/{path}" in kept)


def refuse_checkout(survey: Survey, source: Source) -> None:
    """Raise OpsError for a checkout with changes of its own that no release keeps."""
    checkout = survey.checkout
    if source.kind != "ref" or checkout is None:
        return
    ours = kept_already(survey)
    dirty = [path for path in checkout.dirty if path not in ours]
    if dirty:
        raise OpsError(
            f"the checkout {checkout.top} on the droplet has changes that are not committed",
            why=", ".join(dirty[:5]) + (" and more" if len(dirty) > 5 else ""),
            next=f"on the droplet: git -C {checkout.top} diff   (commit them, or git checkout the files)",
            code="checkout-dirty",
        )


def removed_names(files: Sequence[StagedFile]) -> dict[str, tuple[str, ...]]:
    """Env file → the variables that the new one lacks."""
    return {each.path: each.removed for each in files if each.removed}


def refuse_removed(files: Sequence[StagedFile], command: str) -> None:
    """Raise StepFailed for variables that would vanish and were not said to."""
    for path, gone in removed_names(files).items():
        raise StepFailed(
            f"this deploy would remove {', '.join(gone)} from {path}",
            why="the droplet's file has them, the new one has not",
            next=f"{command} --remove-keys   # or add them to the file",
            code="keys-removed",
        )
