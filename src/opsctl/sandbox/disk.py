"""The disk and the kernel that machine droplets start from: baked once, with a throw-away layer for each droplet."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, StepFailed
from opsctl.sandbox import outer, procs, rootfs
from opsctl.sandbox.kinds import Progress
from opsctl.sandbox.locks import locked
from opsctl.sandbox.paths import cache_dir

_NEEDED = ("mke2fs", "unshare", "chroot", "tar")
_BAKE_TIME = 1200.0
_KEPT = 2


@dataclass(frozen=True)
class Base:
    """What every machine droplet of one recipe shares; nobody writes to it."""

    folder: Path

    @property
    def kernel(self) -> Path:
        """The kernel, outside the disk: the machine starts it directly."""
        return self.folder / "vmlinuz"

    @property
    def image(self) -> Path:
        """A raw ext4 file system without partitions, sparse."""
        return self.folder / "disk.ext4"

    @property
    def build(self) -> str:
        """Which bake this is, empty if it is gone: a layer fits no other one, not even of the same recipe."""
        try:
            return (self.folder / "build").read_text().strip()
        except OSError:
            return ""


def ensure(progress: Progress, cancel: Cancel) -> Base:
    """The base, baked if it is not in the cache yet; what was cut short is done again.

    Raises ConfigError when nothing on this machine can make it, StepFailed with the bake's last words.
    """
    built = rootfs.ensure(progress, cancel)
    base = Base(cache_dir() / f"vm-{_key(built)}")
    if not base.folder.is_dir():
        with locked(cache_dir() / "vm.lock", "bakes the machine's disk", progress, cancel):
            if not base.folder.is_dir():
                _bake(base, built, progress, cancel)
    os.utime(base.folder)
    return base


def add_layer(base: Base, layer: Path, cancel: Cancel) -> None:
    """A layer over the base that takes what one droplet writes (qcow2)."""
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(base.image.resolve()), str(layer)]
    procs.output(argv, cancel=cancel, timeout=30)


def _key(built: rootfs.Built) -> str:
    digest = hashlib.sha256(built.key.encode())
    assets = rootfs.ASSETS / "vm"
    for path in sorted(path for path in assets.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(assets)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _bake(base: Base, built: rootfs.Built, progress: Progress, cancel: Cancel) -> None:
    for leftover in cache_dir().glob("vm-*.baking"):
        rootfs.remove_tree(leftover)
    working = base.folder.with_name(f"{base.folder.name}.baking")
    working.mkdir(parents=True)
    progress("baking the machine's disk once (half a minute)")
    try:
        for line in procs.lines(_baker(working, built), cancel=cancel, timeout=_BAKE_TIME):
            if line.startswith("== "):
                progress(line.removeprefix("== "))
        (working / "out" / "build").write_text(f"{uuid.uuid4()}\n")
        (working / "out").rename(base.folder)
    except StepFailed as error:
        raise StepFailed(
            "the machine's disk could not be baked",
            why=error.info.why or error.info.what,
            next="opsctl sandbox up --kind vm   (it begins anew)",
        ) from None
    finally:
        rootfs.remove_tree(working)
    for old in sorted(cache_dir().glob("vm-*[0-9a-f]"), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
        rootfs.remove_tree(old)


def _baker(working: Path, built: rootfs.Built) -> Sequence[str]:
    """The command that bakes into WORKING/out: as root by itself, else inside a container of Debian's own image."""
    missing = [program for program in _NEEDED if shutil.which(program, path=_path()) is None]
    if os.geteuid() == 0 and not missing:
        folders = (rootfs.ASSETS, working / "work", working / "out", built.droplet, built.seed)
        return ["bash", str(rootfs.ASSETS / "vm" / "build.sh"), *map(str, folders)]
    if outer.unusable() is None:
        return _in_container(working, built)
    raise ConfigError(
        "the sandbox cannot bake a machine's disk here",
        why=f"{' and '.join(missing)} not installed" if missing else "this user is not root, and there is no Docker",
        next="sudo apt-get install e2fsprogs util-linux" if missing else "sudo opsctl sandbox up --kind vm",
        code="sandbox-cannot-build",
    )


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def _in_container(working: Path, built: rootfs.Built) -> list[str]:
    install = "apt-get update -q && apt-get install -yq --no-install-recommends e2fsprogs >/dev/null"
    bake = "bash /assets/vm/build.sh /assets /work /out/out /built/droplet.tar /built/seed.tar"
    script = f"trap 'chown -R {os.getuid()}:{os.getgid()} /out' EXIT; {install} && {bake}"
    mounts = ("-v", f"{rootfs.ASSETS}:/assets:ro", "-v", f"{built.droplet.parent}:/built:ro")
    work = ("-v", "/work", "-v", f"{working}:/out", rootfs.BUILDER)
    return ["docker", "run", "--rm", "--init", *outer.NESTING, *mounts, *work, "bash", "-c", script]
