"""Collects opsctl and the packages that run on a droplet: from what is installed here, and wheels where it must be."""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata as metadata
import io
import re
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import get_args

import opsctl
from opsctl.hosts import wheels
from opsctl.model import assets
from opsctl.model.cancel import Cancel
from opsctl.model.droplet_app import Bundle, Target
from opsctl.model.errors import StepFailed

# What the commands that run on a droplet import. Each brings what it requires itself.
PACKAGES = ("typer", "rich", "pydantic", "ruamel.yaml", "httpx", "tenacity")
# Rooms of opsctl itself that no droplet needs.
_LEFT_OUT = ("sandbox",)
_SKIP = (
    "__pycache__",
    "/tests/",
    "/test/",
    ".dist-info/RECORD",
    ".dist-info/INSTALLER",
    "direct_url.json",
    "REQUESTED",
)
Files = dict[str, bytes]


class LocalPacker:
    """Implements Packer with this installation, whatever kind it is: a wheel, an editable one, or a checkout.

    `more`: distributions to carry besides, for what only runs there now and then.
    """

    def __init__(self, more: tuple[str, ...] = ()) -> None:
        self._more = more

    def pack(self, target: Target, *, cancel: Cancel) -> Bundle:
        """As Packer.pack."""
        files: Files = dict(own_files())
        packages: dict[str, str] = {}
        for name in required((*PACKAGES, *self._more)):
            found = metadata.distribution(name)
            packages[name] = found.version
            if pure(found) or wheels.is_here(target):
                files.update(installed_files(found))
            else:
                files.update(wheels.fetch(name, found.version, target, cancel=cancel))
        return Bundle(
            version=opsctl.__version__,
            digest=_digest(files),
            packages=packages,
            files=len(files),
            size=sum(map(len, files.values())),
            archive=partial(_archive, files),
        )


def own_files() -> Iterator[tuple[str, bytes]]:
    """opsctl itself, with its playbooks and SQL inside the package as a wheel has them."""
    package = Path(opsctl.__file__).resolve().parent
    for path in sorted(package.rglob("*")):
        name = path.relative_to(package)
        if path.is_file() and name.parts[0] not in _LEFT_OUT and "__pycache__" not in name.parts:
            yield f"opsctl/{name.as_posix()}", path.read_bytes()
    kinds: tuple[assets.Kind, ...] = get_args(assets.Kind)
    for kind in kinds:
        for folder in reversed(assets.folders(kind)):
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    yield f"opsctl/{kind}/{path.relative_to(folder).as_posix()}", path.read_bytes()


def required(names: tuple[str, ...]) -> list[str]:
    """These distributions and all that they require and that is installed here, sorted.

    A requirement that this Python does not have is for another system or an older Python.
    """
    todo, found = list(names), dict[str, None]()
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in found:
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            if name in {re.sub(r"[-_.]+", "-", each) for each in names}:
                raise StepFailed(
                    f"{name} is not installed beside this opsctl",
                    why="it is needed on the droplet",
                    next="install opsctl anew: pipx reinstall opsctl",
                ) from None
            continue
        found[name] = None
        for line in distribution.requires or ():
            wanted = re.match(r"[A-Za-z0-9._-]+", line)
            if wanted and not re.search(r"\bextra\s*==", line):
                todo.append(wanted[0])
    return sorted(found)


def pure(distribution: metadata.Distribution) -> bool:
    """Whether it is the same for every Python, processor and libc."""
    return bool(re.search(r"^Root-Is-Purelib:\s*true", distribution.read_text("WHEEL") or "", re.MULTILINE | re.I))


def installed_files(distribution: metadata.Distribution) -> Iterator[tuple[str, bytes]]:
    """The files of an installed distribution under their import names; scripts and byte code are left out."""
    for each in distribution.files or ():
        name = each.as_posix()
        path = Path(str(distribution.locate_file(each)))
        if not name.startswith(("..", "/")) and not any(skip in name for skip in _SKIP) and path.is_file():
            yield name, path.read_bytes()


def _digest(files: Files) -> str:
    whole = hashlib.sha256()
    for name, data in sorted(files.items()):
        whole.update(f"{name}\0{len(data)}\0".encode())
        whole.update(data)
    return whole.hexdigest()


def _archive(files: Files) -> bytes:
    buffer = io.BytesIO()
    # Without a time of its own, so that the same content is the same archive.
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=6, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, data in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755 if name.endswith(".so") else 0o644
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
