"""Snapshots of a container droplet: an image of its root, and a copy of the volume its engine works on."""

from __future__ import annotations

from opsctl.model.cancel import Cancel
from opsctl.model.errors import StepFailed
from opsctl.sandbox import outer

REPOSITORY = "opsctl-sandbox-snapshot"
_LABEL = "io.opsctl.sandbox.snapshot-of"
_COPY = 600.0


def snapshot(container: str, name: str, cancel: Cancel) -> int:
    """Copy a droplet's disk; it stands still while that is done, or a database in it would be torn. Size in bytes."""
    volume, image = _volume(container, name), _image(container, name)
    drop(container, name, cancel)
    outer.docker("volume", "create", f"--label={_LABEL}={container}", volume, cancel=cancel)
    held = outer.attempt("pause", container, cancel=cancel)[0] == 0
    try:
        words = ("--pause=false", "--change", f"LABEL {_LABEL}={container}", container, image)
        outer.docker("commit", *words, cancel=cancel, timeout=_COPY)
        size = _copy(container, volume, image, cancel)
    except BaseException:
        drop(container, name, Cancel())
        raise
    finally:
        if held:
            outer.docker("unpause", container, cancel=Cancel())
    return size


def image_of(container: str, name: str, cancel: Cancel) -> str:
    """The image of a snapshot. Raises StepFailed when there is no such snapshot any more."""
    image = _image(container, name)
    there = outer.attempt("volume", "inspect", _volume(container, name), cancel=cancel)[0] == 0
    if not there or not outer.has_image(image, cancel):
        raise StepFailed(f"snapshot {name} is gone", why="its image or its volume was removed from the engine")
    return image


def put_back(container: str, name: str, cancel: Cancel) -> None:
    """Make the droplet's volume anew from a snapshot; nothing may use it."""
    outer.remove_volume(container, cancel)
    outer.docker("volume", "create", f"--label=io.opsctl.sandbox={container}", container, cancel=cancel)
    _copy(_volume(container, name), container, _image(container, name), cancel)


def drop(container: str, name: str, cancel: Cancel) -> None:
    """Remove one snapshot. A restored droplet may run on its image: then the name alone goes."""
    outer.remove_container(f"{_volume(container, name)}-copy", cancel)
    outer.remove_volume(_volume(container, name), cancel)
    outer.attempt("image", "rm", "-f", _image(container, name), cancel=cancel)


def drop_all(container: str, cancel: Cancel) -> None:
    """Remove all snapshots of a droplet."""
    only = ("--filter", f"label={_LABEL}={container}")
    for prefix in outer.docker("volume", "ls", "-q", *only, cancel=cancel).split():
        outer.remove_container(f"{prefix}-copy", cancel)
        outer.remove_volume(prefix, cancel)
    for image in outer.docker("image", "ls", "-q", *only, cancel=cancel).split():
        outer.attempt("image", "rm", "-f", image, cancel=cancel)


def _copy(source: str, target: str, image: str, cancel: Cancel) -> int:
    """Copy one volume into another, with everything an overlay needs: devices, owners, trusted attributes."""
    script = "cp -a --reflink=auto /from/. /to/ && du -sB1 /to | cut -f1"
    mounts = ("-v", f"{source}:/from:ro", "-v", f"{target}:/to")
    name = f"--name={_helper(source, target)}"
    argv = ("run", "--rm", name, "--network=none", *outer.NESTING[:2], *mounts, image, "sh", "-c", script)
    return int(outer.docker(*argv, cancel=cancel, timeout=_COPY))


def _helper(source: str, target: str) -> str:
    return f"{max(source, target, key=len)}-copy"


def _volume(container: str, name: str) -> str:
    return f"{container}-snapshot-{name}"


def _image(container: str, name: str) -> str:
    return f"{REPOSITORY}:{container}-{name}"
