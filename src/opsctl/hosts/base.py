"""What a host over SSH and this machine have in common: scripts, files and leases through an agent."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from opsctl.hosts import files
from opsctl.hosts.agent import Agent, Pipe, Settings
from opsctl.hosts.guard import AgentGuard, take
from opsctl.model.cancel import Cancel
from opsctl.model.ports import Completed, Endpoint, GuardSpec, Privilege, Script

STATE_DIR = "/var/lib/opsctl"


class AgentHost:
    """A host whose work is done by agents; subclasses say how a process is reached."""

    def __init__(self, settings: Settings, address: str, *, state_dir: str = STATE_DIR) -> None:
        self._settings = settings
        self._address = address
        self._state_dir = state_dir
        self._agent: Agent | None = None
        self._guards: list[AgentGuard] = []
        self._opening = threading.Lock()

    @property
    def name(self) -> str:
        """As Host.name."""
        return self._settings.name

    @property
    def address(self) -> str:
        """As Host.address."""
        return self._address

    def privilege(self, *, cancel: Cancel) -> Privilege:
        """As Host.privilege."""
        return self._ready(cancel).privilege(cancel)

    def run(self, script: Script, *, cancel: Cancel, timeout: float) -> Completed:
        """As Shell.run."""
        bound = cancel.child(timeout)
        return self._ready(bound).run(script, cancel=bound, timeout=timeout)

    def stream(self, script: Script, *, cancel: Cancel, timeout: float | None) -> Iterator[str]:
        """As Shell.stream."""
        bound = cancel.child(timeout)
        yield from self._ready(bound).stream(script, cancel=bound, timeout=timeout)

    def guard(self, spec: GuardSpec, *, cancel: Cancel) -> AgentGuard:
        """As Host.guard."""
        guard = take(self._ready(cancel), self.name, self._state_dir, spec, cancel)
        self._guards.append(guard)
        return guard

    def put(self, data: bytes, path: str, *, mode: int, cancel: Cancel, timeout: float) -> None:
        """As Host.put."""
        files.put(self, data, path, mode=mode, cancel=cancel, timeout=timeout)

    def get(self, path: str, *, cancel: Cancel, timeout: float) -> bytes:
        """As Host.get."""
        return files.get(self, path, cancel=cancel, timeout=timeout)

    def forward(
        self, target_host: str, target_port: int, *, local_port: int | None = None
    ) -> AbstractContextManager[Endpoint]:
        """As Host.forward."""
        raise NotImplementedError

    def interactive(self, argv: Sequence[str], *, tty: bool, cancel: Cancel) -> int:
        """As Host.interactive."""
        raise NotImplementedError

    def close(self) -> None:
        """As Host.close."""
        for guard in self._guards:
            guard.release()
        if self._agent is not None:
            self._agent.close()

    def _open(self, argv: list[str], cancel: Cancel) -> Pipe:
        """Start a process on the host."""
        raise NotImplementedError

    def _ready(self, cancel: Cancel) -> Agent:
        """The agent, started or started again as need be."""
        while not self._opening.acquire(timeout=0.1):
            cancel.check("the connection")
        try:
            if self._agent is None or not self._agent.alive:
                if self._agent is not None:
                    self._agent.close()
                self._agent = Agent(lambda argv: self._open(argv, cancel), self._settings)
            return self._agent
        finally:
            self._opening.release()
