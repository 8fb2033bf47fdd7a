"""Sandboxes by name: made, looked at, made anew, taken away."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, OpsError, UsageError
from opsctl.sandbox import breakage, breakage_record, stackfile
from opsctl.sandbox.breakage_faults import Options
from opsctl.sandbox.breakage_record import Broken
from opsctl.sandbox.identity import KeyPair, key_pair, write_private
from opsctl.sandbox.kinds import Condition, Kind, PortTaken, Power, Progress, Seen, Spec
from opsctl.sandbox.locks import locked
from opsctl.sandbox.paths import cache_dir, sandbox_dir, state_dir
from opsctl.sandbox.registry import KINDS, choose, kind_named

T = TypeVar("T")
DEFAULT_MEMORY = 2 * 1024**3
_MOST = 16


@dataclass(frozen=True)
class DropletStatus:
    """One droplet of a sandbox, as it was found. `memory` in bytes."""

    sandbox: str
    name: str
    kind: str
    condition: Condition
    detail: str
    boot_id: str
    address: str
    memory: int
    stack_file: str
    ssh: tuple[str, ...]  # the system's ssh, with this sandbox's key and known hosts
    broken: tuple[Broken, ...] = ()  # on purpose, by `sandbox break`


@dataclass(frozen=True)
class Sandbox:
    """What is remembered of a sandbox between two commands."""

    name: str
    kind: str
    memory: int
    droplets: tuple[Spec, ...]

    @property
    def folder(self) -> Path:
        """Keys, known hosts, stack file, and a folder a droplet."""
        return sandbox_dir(self.name)

    @property
    def stack_file(self) -> Path:
        """What `--stack` takes."""
        return self.folder / "opsctl.yaml"


def up(
    name: str,
    kind: str | None,
    count: int | None,
    memory: int | None,
    progress: Progress,
    cancel: Cancel,
) -> list[DropletStatus]:
    """Leave a sandbox running, whatever was there before; what runs already is left alone.

    `kind` None takes the one that works here and says why. Raises UsageError where a sandbox of that name is of
    another kind, ConfigError where none can run, OpsError.
    """
    with _held(name, progress, cancel):
        there = _load(name)
        if there is not None:
            _check_same(there, kind, memory)
        chosen = kind_named(there.kind) if there is not None else choose(kind, progress)
        chosen.prepare(progress, cancel)
        sandbox = plan(name, chosen.name, count, memory or DEFAULT_MEMORY, there)
        save(sandbox)
        specs = _each(sandbox.droplets, lambda spec: _up_one(chosen, spec, progress, cancel))
        sandbox = replace(sandbox, droplets=tuple(specs))
        save(sandbox)
        return [_status(sandbox, spec, chosen) for spec in sandbox.droplets]


def _up_one(kind: Kind, spec: Spec, progress: Progress, cancel: Cancel) -> Spec:
    # First, or one whose sshd was stopped would be taken for half made, and made anew.
    breakage.mend_if_reachable(kind, spec, progress, cancel)
    try:
        kind.up(spec, progress, cancel)
    except PortTaken as taken:
        progress(f"{spec.name}: {taken.info.what}: taking another one")
        spec = replace(spec, port=_free_port({spec.port}))
        kind.up(spec, progress, cancel)
    breakage.mend_if_reachable(kind, spec, progress, cancel)
    return spec


def down(name: str, progress: Progress, cancel: Cancel) -> bool:
    """Take a sandbox away with everything it left; False when there was none."""
    if not sandbox_dir(name).exists() and not _lock(name).exists():
        return False
    with _held(name, progress, cancel, remove=True):
        there = sandbox_dir(name).exists()
        sandbox = _load(name)
        if sandbox is not None:
            kind = kind_named(sandbox.kind)
            _each(sandbox.droplets, lambda spec: kind.down(spec, progress, cancel))
        shutil.rmtree(sandbox_dir(name), ignore_errors=True)
    return there


def purge(progress: Progress) -> None:
    """Remove what was built: the cache folder, and the images that engines hold."""
    for name in KINDS:
        try:
            kind_named(name).purge(progress)
        except OpsError as error:
            progress(f"{name}: {error.info.what}")
    shutil.rmtree(cache_dir(), ignore_errors=True)


def status(name: str | None) -> list[DropletStatus]:
    """The droplets of one sandbox, or of all. Raises UsageError for a name that is none."""
    found = names() if name is None else [name]
    return [
        _status(sandbox, spec, kind_named(sandbox.kind))
        for sandbox in (get(each) for each in found)
        for spec in sandbox.droplets
    ]


def reset(name: str, progress: Progress, cancel: Cancel) -> list[DropletStatus]:
    """Make a sandbox's droplets anew; addresses, keys and stack file stay what they are."""
    with _held(name, progress, cancel):
        sandbox = get(name)
        kind = kind_named(sandbox.kind)
        kind.prepare(progress, cancel)
        save(sandbox)

        def renew(spec: Spec) -> None:
            kind.down(spec, progress, cancel)
            breakage_record.save(spec, ())
            kind.up(spec, progress, cancel)

        _each(sandbox.droplets, renew)
        return [_status(sandbox, spec, kind) for spec in sandbox.droplets]


def power(name: str, how: Power, progress: Progress, cancel: Cancel) -> None:
    """Reboot or power-cycle all droplets of a sandbox."""
    with _held(name, progress, cancel):
        sandbox = get(name)
        kind = kind_named(sandbox.kind)
        _each(sandbox.droplets, lambda spec: kind.power(spec, how, progress, cancel))


def names() -> list[str]:
    """The sandboxes there are, also half-made ones."""
    return sorted(path.parent.name for path in state_dir().glob("*/sandbox.json"))


def get(name: str) -> Sandbox:
    """One sandbox. Raises UsageError when there is none of that name."""
    sandbox = _load(name)
    if sandbox is None:
        known = names()
        raise UsageError(
            f"there is no sandbox {name!r}",
            why=f"there is {', '.join(known)}" if known else "there is none at all",
            next=f"opsctl sandbox up --name {name}",
        )
    return sandbox


def break_(
    name: str, droplet: str | None, what: str, options: Options, progress: Progress, cancel: Cancel
) -> tuple[str, Broken]:
    """Break one droplet of a sandbox; its name, and what was done. Raises UsageError where `droplet` is no name."""
    with _held(name, progress, cancel):
        sandbox = get(name)
        spec = _one(sandbox, droplet)
        return spec.name, breakage.break_(kind_named(sandbox.kind), spec, what, options, progress, cancel)


def mend(
    name: str, droplet: str | None, what: str | None, progress: Progress, cancel: Cancel
) -> list[tuple[str, tuple[Broken, ...]]]:
    """Undo what was broken, on one droplet or on all: what, by droplet."""
    with _held(name, progress, cancel):
        sandbox = get(name)
        kind = kind_named(sandbox.kind)
        specs = sandbox.droplets if droplet is None else (_one(sandbox, droplet),)
        return [(spec.name, breakage.mend(kind, spec, what, progress, cancel)) for spec in specs]


def _one(sandbox: Sandbox, droplet: str | None) -> Spec:
    known = {spec.name: spec for spec in sandbox.droplets}
    if droplet is None and len(known) == 1:
        return sandbox.droplets[0]
    if droplet in known:
        return known[droplet]
    raise UsageError(
        f"sandbox {sandbox.name} has no droplet {droplet!r}" if droplet else f"which of {len(known)} droplets?",
        why=f"they are {', '.join(known)}",
        next=f"add -d {next(iter(known))}   (or another)",
    )


def _held(name: str, progress: Progress, cancel: Cancel, *, remove: bool = False) -> AbstractContextManager[None]:
    return locked(_lock(name), f"works on sandbox {name}", progress, cancel, remove=remove)


def _lock(name: str) -> Path:
    return sandbox_dir(name).with_name(f".{name}.lock")


def _load(name: str) -> Sandbox | None:
    folder = sandbox_dir(name)
    try:
        said: dict[str, Any] = json.loads((folder / "sandbox.json").read_text())
        specs = tuple(_spec(folder, each["name"], each["port"], said["memory"]) for each in said["droplets"])
        return Sandbox(said["name"], said["kind"], said["memory"], specs)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{folder / 'sandbox.json'} cannot be read",
            why=f"{type(error).__name__}: {error}",
            next=f"remove {folder} and run: opsctl sandbox up --name {name}",
        ) from None


def _spec(folder: Path, name: str, port: int, memory: int) -> Spec:
    login = key_pair(folder / "id_ed25519")
    own = folder / name
    own.mkdir(parents=True, exist_ok=True, mode=0o700)
    host: KeyPair = key_pair(own / "ssh_host_ed25519_key")
    return Spec(name, own, port, memory, login.public, host.private, host.public)


def plan(name: str, kind: str, count: int | None, memory: int, there: Sandbox | None) -> Sandbox:
    """The sandbox that is wanted: what is there, and the droplets that are missing."""
    folder = sandbox_dir(name)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    specs = list(there.droplets) if there is not None else []
    memory = there.memory if there is not None else memory
    wanted = max(count or 1, len(specs))
    if wanted > _MOST:
        raise UsageError(f"{wanted} droplets are too many", why=f"{_MOST} at most", next="opsctl sandbox up --count 3")
    while len(specs) < wanted:
        alone = count is None or count == 1
        droplet = name if alone else f"{name}-{len(specs) + 1}"
        specs.append(_spec(folder, droplet, _free_port({spec.port for spec in specs}), memory))
    return Sandbox(name, kind, memory, tuple(specs))


def save(sandbox: Sandbox) -> None:
    """Write what the next command needs to know: note, known hosts, stack file."""
    said = {
        "schema": "opsctl.sandbox-state/1",
        "name": sandbox.name,
        "kind": sandbox.kind,
        "memory": sandbox.memory,
        "droplets": [{"name": spec.name, "port": spec.port} for spec in sandbox.droplets],
    }
    write_private(sandbox.folder / "sandbox.json", json.dumps(said, indent=2) + "\n")
    write_private(sandbox.folder / "known_hosts", stackfile.known_hosts(sandbox.droplets))
    stack = stackfile.text(sandbox.folder, sandbox.droplets, emulated=sandbox.kind == "vm")
    write_private(sandbox.stack_file, stack)


def _check_same(there: Sandbox, kind: str | None, memory: int | None) -> None:
    for word, wanted, has in (("kind", kind, there.kind), ("memory", memory, there.memory)):
        if wanted is not None and wanted != has:
            raise UsageError(
                f"sandbox {there.name!r} is there with {word} {has}, not {wanted}",
                why="what is in it would be lost",
                next=f"opsctl sandbox down --name {there.name}",
            )


def _status(sandbox: Sandbox, spec: Spec, kind: Kind) -> DropletStatus:
    seen: Seen = kind.status(spec)
    return DropletStatus(
        sandbox=sandbox.name,
        name=spec.name,
        kind=sandbox.kind,
        condition=seen.condition,
        detail=seen.detail,
        boot_id=seen.boot_id,
        address=f"root@127.0.0.1:{spec.port}",
        memory=spec.memory,
        stack_file=str(sandbox.stack_file),
        ssh=ssh_argv(sandbox, spec),
        broken=breakage_record.standing(spec, seen.boot_id),
    )


def ssh_argv(sandbox: Sandbox, spec: Spec, user: str = "root") -> tuple[str, ...]:
    """OpenSSH's client for a droplet: this sandbox's key and host keys, nothing of the user's own."""
    return (
        *("ssh", "-F", "none", "-i", str(sandbox.folder / "id_ed25519"), "-p", str(spec.port)),
        *("-o", f"UserKnownHostsFile={sandbox.folder / 'known_hosts'}", "-o", "StrictHostKeyChecking=yes"),
        *("-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR", f"{user}@127.0.0.1"),
    )


def _each(specs: Sequence[Spec], work: Callable[[Spec], T]) -> list[T]:
    """Do something with every droplet, two at a time; the first failure is raised when all are through."""
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="sandbox") as pool:
        return [outcome.result() for outcome in [pool.submit(work, spec) for spec in specs]]


def _free_port(taken: set[int]) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in taken:
            return port
