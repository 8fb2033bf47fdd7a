"""What `migrate volumes-to-host` does not do, and why: before anything is touched. Pure."""

from __future__ import annotations

import re

from opsctl.jobs.volumes_find import Found, Wish
from opsctl.model.errors import OpsError, StepFailed, UnreachableError, UsageError
from opsctl.model.units import show_size
from opsctl.model.volumes import Place, VolumeFacts

_PATH = re.compile(r"(/[A-Za-z0-9._@+-]+){2,}")  # what YAML, compose and the shell take as it is; never a top folder
_SPARE = 64_000_000  # bytes that stay free


def check_path(path: str) -> None:
    """Raise UsageError for what cannot be the folder of a mount."""
    if not _PATH.fullmatch(path) or "/../" in f"{path}/" or "/./" in f"{path}/":
        raise UsageError(
            f"--to: a volume cannot move to {path or 'no folder at all'}",
            why="it wants a whole path of at least two parts, of letters, digits and ._@+-",
            next="--to /opt/stack/data/postgres",
        )


def refuse_place(facts: VolumeFacts, wish: Wish, root_dir: str) -> None:
    """Raise OpsError for a volume or a folder that cannot be moved from or to."""
    if not facts.root or facts.lacks:
        why = "volumes belong to root, and sudo is not allowed" if not facts.root else f"no {', '.join(facts.lacks)}"
        raise UnreachableError("the data cannot be copied on this droplet", why=why, next="opsctl doctor")
    if not facts.exists:
        raise OpsError(
            f"the volume {wish.name} is not there",
            why="nothing has been started with it yet" if facts.record is None else "it has been removed since",
            next="opsctl status",
            code="no-volume",
        )
    if facts.driver != "local" or facts.options:
        raise OpsError(
            f"the volume {wish.name} is not one of the engine's own folders",
            why=f"driver {facts.driver}" + (f", with {', '.join(facts.options)}" if facts.options else ""),
            next=f"on the droplet: docker volume inspect {wish.name}",
            code="volume-foreign",
        )
    host, inside = facts.host.real or facts.host.path, facts.volume.real or facts.volume.path
    for one, other in ((host, inside), (inside, host), (host, root_dir or inside)):
        if f"{one}/".startswith(f"{other.rstrip('/')}/"):
            raise UsageError(
                f"--to: {facts.host.path} lies where the engine keeps its own",
                why=f"{one} is inside {other}",
                next="--to /opt/stack/data/postgres",
            )


def refuse_users(facts: VolumeFacts, wish: Wish, project: str, found: Found) -> None:
    """Raise OpsError where somebody else writes to the volume, or nobody of the compose file."""
    if not found.users:
        raise UsageError(
            f"no service of the compose file mounts {wish.key}",
            why="only what a service uses can be moved with it",
            next="opsctl config show",
        )
    for each in facts.mounting:
        ours = each.project == project and each.service in found.users
        if not ours and each.status in ("running", "restarting", "paused"):
            raise StepFailed(
                f"{each.name} uses {wish.name}, too, and is not in the compose file",
                why="what it writes while the data moves would be left behind",
                next=f"on the droplet: docker stop {each.name}",
                code="volume-shared",
            )
    if len(found.at) > 1:
        raise StepFailed(
            f"some containers use {wish.name}, others use {facts.host.path}",
            why="these are two sets of data, and opsctl does not choose between them",
            next="opsctl status",
            code="two-places",
        )


def refuse_target(facts: VolumeFacts, wish: Wish) -> None:
    """Raise StepFailed for a target that holds what is not our own copy."""
    record, target = facts.record, facts.volume if wish.back else facts.host
    if target.exists and not target.folder:
        raise StepFailed(f"{target.path} is no folder", next="opsctl migrate volumes-to-host --help", code="no-folder")
    if target.empty:
        return
    if wish.back:
        if record is None:
            raise StepFailed(
                f"{wish.name} holds data, and opsctl has not moved it away",
                why="going back would write over what nobody knows to be older",
                next=f"on the droplet: ls -la {target.path}",
                code="not-empty",
            )
        return
    known = record is not None and (record.path, record.folder) == (target.path, target.identity)
    if known and record is not None and record.phase == "moved":
        raise StepFailed(
            f"{target.path} holds what was moved there, and the service uses {wish.name} again",
            why="what it wrote to the folder since would be lost",
            next=f"opsctl deploy   (with {target.path} in the compose file), or on the droplet: mv {target.path} "
            f"{target.path}.old",
            code="not-empty",
        )
    if not known:
        raise StepFailed(
            f"{target.path} is not empty",
            why="it is no copy that opsctl began: what is in it would be mixed with the volume's data",
            next=f"on the droplet: ls -la {target.path}   (or name another folder with --to)",
            code="not-empty",
        )


def refuse_space(source: Place, target: Place) -> None:
    """Raise StepFailed where the copy does not fit. What is there of it already counts."""
    needs = max(0, source.size - target.size) + source.size // 50 + _SPARE
    if needs > target.free:
        raise StepFailed(
            f"the copy does not fit: {show_size(target.free)} are free where {target.path} lies",
            why=f"the data has {show_size(source.size)}, of which {show_size(target.size)} are there already; "
            f"{show_size(needs)} are wanted",
            next="opsctl memory report   (its disk section says what could go)",
            code="no-space",
        )
    if target.free_files is not None and source.files - target.files > target.free_files:
        raise StepFailed(
            f"the copy does not fit: {target.free_files} files can still be made where {target.path} lies",
            why=f"the data has {source.files}",
            next="on the droplet: df -i",
            code="no-space",
        )
