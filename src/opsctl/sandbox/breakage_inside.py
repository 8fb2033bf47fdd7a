"""A way into a droplet that needs neither its network nor its sshd, and the switch that stops it altogether."""

from __future__ import annotations

import base64
import json
import shlex
from typing import Protocol

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, StepFailed, UnreachableError
from opsctl.sandbox import outer, procs, qmp
from opsctl.sandbox.kinds import Spec


class Inside(Protocol):
    """Root on one droplet, whatever is broken there."""

    kind: str

    def run(self, script: str, *args: str, cancel: Cancel, timeout: float = 60.0) -> tuple[int, str]:
        """Exit status and what a bash script said. Raises UnreachableError when the droplet stands still."""
        ...

    def freeze(self, cancel: Cancel) -> None:
        """Let no instruction run in it any more, until `thaw` or a power-cycle."""
        ...

    def thaw(self, cancel: Cancel) -> None:
        """Let it go on; one that was not frozen is fine."""
        ...


class _Container:
    kind = "container"

    def __init__(self, spec: Spec) -> None:
        try:
            self._name = str(json.loads((spec.folder / "container.json").read_text())["container"])
        except (OSError, ValueError, KeyError):
            raise UnreachableError(f"{spec.name} is not up", next="opsctl sandbox up") from None

    def run(self, script: str, *args: str, cancel: Cancel, timeout: float = 60.0) -> tuple[int, str]:
        argv = ["docker", "exec", "-i", self._name, "bash", "-s", "--", *args]
        code, out, error = procs.attempt(argv, cancel=cancel, timeout=timeout, stdin=script.encode())
        said = "\n".join(filter(None, (out, error)))
        if code != 0 and ("is paused" in said or "is not running" in said or "No such container" in said):
            raise UnreachableError("the droplet stands still", why=said, next="opsctl sandbox mend hung")
        return code, said

    def freeze(self, cancel: Cancel) -> None:
        outer.docker("pause", self._name, cancel=cancel)

    def thaw(self, cancel: Cancel) -> None:
        code, _, error = outer.attempt("unpause", self._name, cancel=cancel)
        if code != 0 and "is not paused" not in error:
            raise StepFailed("the droplet cannot be thawed", why=error, next="opsctl sandbox reboot --power-cycle")


class _Machine:
    kind = "vm"

    def __init__(self, spec: Spec) -> None:
        self._folder = spec.folder / "vm"

    def run(self, script: str, *args: str, cancel: Cancel, timeout: float = 60.0) -> tuple[int, str]:
        whole = f"set -- {shlex.join(args)}\n{script}"
        packed = base64.b64encode(whole.encode()).decode()
        answer = qmp.ask(self._folder, f"run {packed}", timeout=timeout)
        if answer == "unknown":
            raise ConfigError(
                "this machine cannot be broken", why="it was made by an older opsctl", next="opsctl sandbox reset"
            )
        cancel.check("the machine's own line")
        if answer is None:
            raise UnreachableError(
                "the machine does not answer on its own line",
                why=f"nothing came within {timeout:.0f} s",
                next="opsctl sandbox mend hung, or: opsctl sandbox reboot --power-cycle",
            )
        code, _, said = answer.partition(" ")
        return int(code), base64.b64decode(said).decode(errors="replace").strip()

    def freeze(self, cancel: Cancel) -> None:
        qmp.execute(self._folder, "stop")

    def thaw(self, cancel: Cancel) -> None:
        qmp.execute(self._folder, "cont")


def inside(kind: str, spec: Spec) -> Inside:
    """The way into a droplet of that kind."""
    return _Machine(spec) if kind == "vm" else _Container(spec)


def values(said: str) -> dict[str, str]:
    """The lines `key value` of what a script said."""
    return dict(line.split(" ", 1) for line in said.splitlines() if " " in line)
