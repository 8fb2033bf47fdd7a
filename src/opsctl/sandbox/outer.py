"""The Docker engine of this machine, the one that container droplets run on."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from opsctl.model.cancel import Cancel
from opsctl.model.errors import DeadlineExceeded
from opsctl.sandbox import procs

# What a nested engine needs where `--privileged` is refused (no CAP_SYS_RESOURCE to hand out).
NESTING = (
    "--cap-add=ALL",
    "--cap-drop=SYS_RESOURCE",
    "--security-opt=seccomp=unconfined",
    "--security-opt=systempaths=unconfined",
    "--security-opt=apparmor=unconfined",
    "--cgroupns=private",
    "--device=/dev/fuse",
)
PRIVILEGED = ("--privileged", "--cgroupns=private")
_QUICK = 30.0


def unusable() -> str | None:
    """Why no container can be run on this machine; None when one can."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    try:
        code, out, error = attempt("version", "--format", "{{.Server.Os}}", timeout=10)
    except DeadlineExceeded:
        return "the Docker engine does not answer within 10 s"
    if code != 0 or not out:
        return f"no Docker engine answers ({error.splitlines()[-1] if error else 'docker version failed'})"
    return None if out == "linux" else f"the Docker engine runs {out} containers, not Linux ones"


def attempt(*words: str, cancel: Cancel | None = None, timeout: float = _QUICK) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of one docker command."""
    return procs.attempt(["docker", *words], cancel=cancel or Cancel(), timeout=timeout)


def docker(*words: str, cancel: Cancel, timeout: float = _QUICK) -> str:
    """stdout of one docker command. Raises StepFailed with what docker said."""
    return procs.output(["docker", *words], cancel=cancel, timeout=timeout)


def says_port_taken(error: str) -> bool:
    """Whether a failed `docker start` complains of a published port that somebody else has."""
    return any(words in error for words in ("port is already allocated", "address already in use"))


def has_image(tag: str, cancel: Cancel) -> bool:
    """Whether the engine has an image of that name."""
    return attempt("image", "inspect", "-f", "{{.Id}}", tag, cancel=cancel)[0] == 0


def remove_container(name: str, cancel: Cancel) -> None:
    """Remove a container, running or not; none of that name is fine."""
    _tolerant(("rm", "-f", "-v", name), "No such container", cancel)


def remove_volume(name: str, cancel: Cancel) -> None:
    """Remove a volume; none of that name is fine."""
    _tolerant(("volume", "rm", "-f", name), "no such volume", cancel)


def _tolerant(words: Sequence[str], fine: str, cancel: Cancel) -> None:
    code, _, error = attempt(*words, cancel=cancel, timeout=60)
    if code != 0 and fine.lower() not in error.lower():
        docker(*words, cancel=cancel, timeout=60)
