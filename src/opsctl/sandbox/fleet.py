"""Sandboxes by name: made, looked at, made anew, taken away."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from opsctl.model.cancel import Cancel
from opsctl.model.errors import OpsError, UsageError
from opsctl.sandbox import breakage, breakage_record, cloud, observability, vector
from opsctl.sandbox.breakage_faults import Options
from opsctl.sandbox.breakage_record import Broken
from opsctl.sandbox.kinds import Condition, Kind, PortTaken, Power, Progress, Seen, Spec
from opsctl.sandbox.locks import locked
from opsctl.sandbox.observability import Receiver
from opsctl.sandbox.paths import cache_dir, sandbox_dir
from opsctl.sandbox.registry import KINDS, choose, kind_named
from opsctl.sandbox.store import DEFAULT_MEMORY, Sandbox, free_port, get, load, names, plan, save

__all__ = ["DEFAULT_MEMORY", "Sandbox", "get", "names", "plan", "save"]  # of what is remembered: see store
T = TypeVar("T")
_PROVIDER = 900.0


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
    cloud: str  # where the provider's API is, "" while its stand-in does not answer
    broken: tuple[Broken, ...] = ()  # on purpose, by `sandbox break`


def up(
    name: str,
    kind: str | None,
    count: int | None,
    memory: int | None,
    progress: Progress,
    cancel: Cancel,
    *,
    stack: str | None = None,
) -> list[DropletStatus]:
    """Leave a sandbox running, whatever was there before; what runs already is left alone.

    `kind` None takes the one that works here and says why; `stack` is app or vector, None what it is. Raises
    UsageError where a sandbox of that name is of another kind, ConfigError where none can run, OpsError.
    """
    with _held(name, progress, cancel):
        there = load(name)
        if there is not None:
            _check_same(there, kind, memory)
        chosen = kind_named(there.kind) if there is not None else choose(kind, progress)
        sandbox = plan(name, chosen.name, count, memory or DEFAULT_MEMORY, there, stack)
        program = vector.ready(progress, cancel) if sandbox.vector is not None else None
        chosen.prepare(progress, cancel)
        save(sandbox)
        specs = _each(sandbox.droplets, lambda spec: _up_one(chosen, spec, progress, cancel))
        sandbox = _with_cloud(replace(sandbox, droplets=tuple(specs)), cancel)
        _install(sandbox, program, progress, cancel)
        _observe_again(sandbox, progress, cancel)
        return [_status(sandbox, spec, chosen) for spec in sandbox.droplets]


def _with_cloud(sandbox: Sandbox, cancel: Cancel) -> Sandbox:
    taken = {spec.port for spec in sandbox.droplets}
    port = cloud.ensure(sandbox.name, sandbox.folder, sandbox.cloud_port, lambda: free_port(taken), cancel)
    sandbox = replace(sandbox, cloud_port=port)
    save(sandbox)
    return sandbox


def _install(sandbox: Sandbox, program: Path | None, progress: Progress, cancel: Cancel) -> None:
    if sandbox.vector is not None and program is not None:
        vector.install(ssh_argv(sandbox, sandbox.vector), program, progress, cancel)


def _up_one(kind: Kind, spec: Spec, progress: Progress, cancel: Cancel) -> Spec:
    # First, or one whose sshd was stopped would be taken for half made, and made anew.
    breakage.mend_if_reachable(kind, spec, progress, cancel)
    try:
        kind.up(spec, progress, cancel)
    except PortTaken as taken:
        progress(f"{spec.name}: {taken.info.what}: taking another one")
        spec = replace(spec, port=free_port({spec.port}))
        kind.up(spec, progress, cancel)
    breakage.mend_if_reachable(kind, spec, progress, cancel)
    breakage.free_ports(kind, spec, progress, cancel)
    return spec


def down(name: str, progress: Progress, cancel: Cancel) -> bool:
    """Take a sandbox away with everything it left; False when there was none."""
    if not sandbox_dir(name).exists() and not _lock(name).exists():
        return False
    with _held(name, progress, cancel, remove=True):
        there = sandbox_dir(name).exists()
        cloud.end(sandbox_dir(name))
        observability.end(sandbox_dir(name), cancel)
        sandbox = load(name)
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
        program = vector.ready(progress, cancel) if sandbox.vector is not None else None
        kind.prepare(progress, cancel)
        cloud.forget(sandbox.folder)
        memory = sandbox.memory
        sandbox = replace(sandbox, droplets=tuple(replace(spec, memory=memory) for spec in sandbox.droplets))
        save(sandbox)

        def renew(spec: Spec) -> None:
            kind.down(spec, progress, cancel)
            breakage_record.save(spec, ())
            kind.up(spec, progress, cancel)

        _each(sandbox.droplets, renew)
        sandbox = _with_cloud(sandbox, cancel)
        _install(sandbox, program, progress, cancel)
        _observe_again(sandbox, progress, cancel)
        return [_status(sandbox, spec, kind) for spec in sandbox.droplets]


def observe(name: str, feed: str, progress: Progress, cancel: Cancel) -> tuple[Sandbox, Receiver]:
    """Give a sandbox a cloud that receives its metrics and traces. Raises as `observability.on`, UsageError."""
    with _held(name, progress, cancel):
        sandbox = get(name)
        receiver = observability.on(sandbox.folder, sandbox.kind, sandbox.droplets, feed, _two_ports, progress, cancel)
        save(sandbox)
        return sandbox, receiver


def observe_no_more(name: str, progress: Progress, cancel: Cancel) -> bool:
    """Take that cloud away with all it received; False when there was none."""
    with _held(name, progress, cancel):
        sandbox = get(name)
        there = observability.off(sandbox.folder, sandbox.kind, sandbox.droplets, cancel)
        save(sandbox)
        return there


def _observe_again(sandbox: Sandbox, progress: Progress, cancel: Cancel) -> None:
    there = observability.load(sandbox.folder)
    if there is not None:
        observability.on(sandbox.folder, sandbox.kind, sandbox.droplets, there.feed, _two_ports, progress, cancel)


def _two_ports() -> tuple[int, int]:
    first = free_port(set())
    return first, free_port({first})


def power(name: str, how: Power, progress: Progress, cancel: Cancel) -> None:
    """Reboot or power-cycle all droplets of a sandbox."""
    with _held(name, progress, cancel):
        sandbox = get(name)
        kind = kind_named(sandbox.kind)
        _each(sandbox.droplets, lambda spec: kind.power(spec, how, progress, cancel))


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


@contextmanager
def working_on(name: str, droplet: str) -> Iterator[tuple[Kind, Spec]]:
    """One droplet as it is now, and nobody else's: what its provider does to it. Raises UsageError."""
    with _held(name, lambda _: None, Cancel(_PROVIDER)):
        sandbox = get(name)
        yield kind_named(sandbox.kind), _one(sandbox, droplet)


def resize(name: str, droplet: str, memory: int, cancel: Cancel) -> None:
    """Give a droplet that is off another amount of memory, in bytes, and remember it."""
    with _held(name, lambda _: None, cancel):
        sandbox = get(name)
        spec = _one(sandbox, droplet)
        kind_named(sandbox.kind).resize(spec, memory, cancel)
        specs = tuple(replace(each, memory=memory) if each == spec else each for each in sandbox.droplets)
        save(replace(sandbox, droplets=specs))


def kind_of(name: str) -> Kind:
    """The kind of one sandbox's droplets. Raises UsageError."""
    return kind_named(get(name).kind)


def _held(name: str, progress: Progress, cancel: Cancel, *, remove: bool = False) -> AbstractContextManager[None]:
    gone = remove or not sandbox_dir(name).exists()  # of a mistyped name nothing is left
    return locked(_lock(name), f"works on sandbox {name}", progress, cancel, remove=gone)


def _lock(name: str) -> Path:
    return sandbox_dir(name).with_name(f".{name}.lock")


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
    port = sandbox.cloud_port
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
        cloud=f"http://127.0.0.1:{port}" if port and cloud.answers(sandbox.folder, port) else "",
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
