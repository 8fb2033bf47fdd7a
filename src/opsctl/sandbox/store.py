"""What is remembered of a sandbox between two commands, and written for others to use."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opsctl.model.errors import ConfigError, UsageError
from opsctl.sandbox import observability, stackfile
from opsctl.sandbox.identity import KeyPair, key_pair, write_private
from opsctl.sandbox.kinds import Spec
from opsctl.sandbox.observability_stack import with_receiver
from opsctl.sandbox.paths import sandbox_dir, state_dir

DEFAULT_MEMORY = 2 * 1024**3
APP, VECTOR = "app", "vector"  # which stacks: the agents alone, or a droplet with Weaviate beside them
_MOST = 16


@dataclass(frozen=True)
class Sandbox:
    """What is remembered of a sandbox between two commands."""

    name: str
    kind: str
    memory: int
    droplets: tuple[Spec, ...]
    cloud_port: int = 0  # 0: the provider's API was never started
    stack: str = APP

    @property
    def folder(self) -> Path:
        """Keys, known hosts, stack file, and a folder a droplet."""
        return sandbox_dir(self.name)

    @property
    def vector(self) -> Spec | None:
        """The droplet of the vector stack; None without one."""
        return next((spec for spec in self.droplets if spec.name == _vector(self.name)), None)

    @property
    def stack_file(self) -> Path:
        """What `--stack` takes."""
        return self.folder / "opsctl.yaml"


def names() -> list[str]:
    """The sandboxes there are, also half-made ones."""
    return sorted(path.parent.name for path in state_dir().glob("*/sandbox.json"))


def get(name: str) -> Sandbox:
    """One sandbox. Raises UsageError when there is none of that name."""
    sandbox = load(name)
    if sandbox is None:
        known = names()
        raise UsageError(
            f"there is no sandbox {name!r}",
            why=f"there is {', '.join(known)}" if known else "there is none at all",
            next=f"opsctl sandbox status --name {known[0]}" if len(known) == 1 else f"opsctl sandbox up --name {name}",
        )
    return sandbox


def load(name: str) -> Sandbox | None:
    """One sandbox, None when there is none. Raises ConfigError when what was written cannot be read."""
    folder = sandbox_dir(name)
    try:
        said: dict[str, Any] = json.loads((folder / "sandbox.json").read_text())
        specs = tuple(
            _spec(folder, each["name"], each["port"], each.get("memory", said["memory"])) for each in said["droplets"]
        )
        port, stack = said.get("cloud_port", 0), said.get("stack", APP)
        return Sandbox(said["name"], said["kind"], said["memory"], specs, port, stack)
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


def _vector(name: str) -> str:
    return f"{name}-vector"


def plan(
    name: str, kind: str, count: int | None, memory: int, there: Sandbox | None, stack: str | None = None
) -> Sandbox:
    """The sandbox that is wanted: what is there, and the droplets that are missing."""
    folder = sandbox_dir(name)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    extra = [there.vector] if there is not None and there.vector is not None else []
    specs = [spec for spec in there.droplets if spec not in extra] if there is not None else []
    memory = there.memory if there is not None else memory
    wanted = max(count or 1, len(specs))
    if wanted > _MOST:
        raise UsageError(f"{wanted} droplets are too many", why=f"{_MOST} at most", next="opsctl sandbox up --count 3")
    while len(specs) < wanted:
        alone = count is None or count == 1
        droplet = name if alone else f"{name}-{len(specs) + 1}"
        specs.append(_spec(folder, droplet, free_port({spec.port for spec in (*specs, *extra)}), memory))
    chosen = stack or (there.stack if there is not None else APP)
    if chosen == VECTOR and not extra:
        extra.append(_spec(folder, _vector(name), free_port({spec.port for spec in specs}), memory))
    port = there.cloud_port if there is not None else 0
    return Sandbox(name, kind, memory, (*specs, *extra), port, VECTOR if extra else APP)


def save(sandbox: Sandbox) -> None:
    """Write what the next command needs to know: note, known hosts, stack file."""
    said = {
        "schema": "opsctl.sandbox-state/1",
        "name": sandbox.name,
        "kind": sandbox.kind,
        "memory": sandbox.memory,
        "cloud_port": sandbox.cloud_port,
        "stack": sandbox.stack,
        "droplets": [{"name": spec.name, "port": spec.port, "memory": spec.memory} for spec in sandbox.droplets],
    }
    write_private(sandbox.folder / "sandbox.json", json.dumps(said, indent=2) + "\n")
    write_private(sandbox.folder / "known_hosts", stackfile.known_hosts(sandbox.droplets))
    stack = stackfile.text(
        sandbox.folder,
        sandbox.droplets,
        emulated=sandbox.kind == "vm",
        cloud_port=sandbox.cloud_port,
        vector=sandbox.vector,
    )
    write_private(sandbox.stack_file, with_receiver(stack, observability.load(sandbox.folder)))


def free_port(taken: set[int]) -> int:
    """A port of loopback that nothing has now, and none of these."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in taken:
            return port
