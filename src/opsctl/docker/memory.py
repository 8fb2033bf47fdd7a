"""Reads a droplet's memory in one remote call."""

from __future__ import annotations

from opsctl.docker import collect
from opsctl.model.cancel import Cancel
from opsctl.model.errors import StepFailed
from opsctl.model.memory_facts import MemoryFacts, MemorySample
from opsctl.model.ports import Shell
from opsctl.model.stack import Droplet

_BOUND = 60.0


class DockerMemory:
    """Implements the port MemoryReader for one droplet."""

    def __init__(self, droplet: Droplet) -> None:
        self._socket = droplet.socket

    def read(self, shell: Shell, *, cancel: Cancel, patience: float) -> MemoryFacts:
        """Everything; `patience` seconds are given to the engine's disk figures. Raises OpsError."""
        return collect.facts(self._run(shell, "full", patience, cancel))

    def sample(self, shell: Shell, *, cancel: Cancel) -> MemorySample:
        """Only what is available and what containers use. Raises OpsError."""
        return collect.sample(self._run(shell, "sample", 0, cancel))

    def _run(self, shell: Shell, mode: str, patience: float, cancel: Cancel) -> bytes:
        done = shell.run(collect.script(mode, self._socket, patience), cancel=cancel, timeout=_BOUND + patience)
        if done.code != 0 and not done.stdout:
            raise StepFailed(
                "the droplet's figures could not be read",
                why=done.error_text.splitlines()[-1] if done.error_text else f"exit status {done.code}",
                next="opsctl doctor",
            )
        return done.stdout
