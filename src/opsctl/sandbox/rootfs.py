"""The droplet's root filesystem and its engine's images: built once from Debian packages, kept in the cache."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, StepFailed
from opsctl.sandbox import outer, procs
from opsctl.sandbox.kinds import Progress
from opsctl.sandbox.locks import locked
from opsctl.sandbox.paths import cache_dir

ASSETS = Path(__file__).parent / "assets"
BUILDER = "debian:trixie-slim"
_NEEDED = ("debootstrap", "unshare", "setpriv", "tar", "chroot")
_BUILD_TIME = 1800.0
_KEPT = 2
_CONTAINER = "opsctl-sandbox-build"


@dataclass(frozen=True)
class Built:
    """What a droplet of either kind is made from."""

    key: str  # of the recipe: another recipe, another key
    droplet: Path  # root filesystem, a tar with numeric owners; no kernel, no host keys, an empty machine-id
    seed: Path  # what belongs into /var/lib/docker: the stack's images, loaded (overlay2)


def recipe_key() -> str:
    """A hash over everything that the build depends on, except the packages' versions of the day."""
    digest = hashlib.sha256(platform.machine().encode())
    files = [ASSETS / "build.sh"]
    for folder in ("images", "droplet"):
        files += sorted(path for path in (ASSETS / folder).rglob("*") if path.is_file())
    for path in files:
        digest.update(f"{path.relative_to(ASSETS)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def ensure(progress: Progress, cancel: Cancel) -> Built:
    """Build what is not in the cache yet; a build that was cut short is done again.

    Raises ConfigError when nothing on this machine can build it, StepFailed with the build's last words.
    """
    built = _built(recipe_key())
    if not _complete(built):
        with locked(cache_dir() / "build.lock", "builds the droplet's root filesystem", progress, cancel):
            if not _complete(built):
                _build(built, progress, cancel)
    os.utime(built.droplet.parent)
    return built


def is_cached(key: str) -> bool:
    """Whether the build of a recipe is in the cache."""
    return _complete(_built(key))


def _built(key: str) -> Built:
    folder = cache_dir() / f"rootfs-{key}"
    return Built(key, folder / "droplet.tar", folder / "seed.tar")


def _complete(built: Built) -> bool:
    return built.droplet.is_file() and built.seed.is_file()


def _build(built: Built, progress: Progress, cancel: Cancel) -> None:
    folder = built.droplet.parent
    working = folder.with_name(f"{folder.name}.building")
    for leftover in cache_dir().glob("rootfs-*.building"):
        remove_tree(leftover)
    shutil.rmtree(folder, ignore_errors=True)
    working.mkdir(parents=True)
    progress("building the droplet once, from Debian packages (a minute or two)")
    try:
        for line in procs.lines(_builder(working, progress, cancel), cancel=cancel, timeout=_BUILD_TIME):
            if line.startswith("== "):
                progress(line.removeprefix("== "))
        (working / "out").rename(folder)
    except StepFailed as error:
        raise StepFailed(
            "the droplet's root filesystem could not be built",
            why=error.info.why or error.info.what,
            next="opsctl sandbox up   (it begins anew; OPSCTL_SANDBOX_MIRROR names another Debian mirror)",
        ) from None
    finally:
        remove_tree(working)
    for old in sorted(cache_dir().glob("rootfs-*"), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
        remove_tree(old)


def remove_tree(folder: Path) -> None:
    """Remove a folder of the cache, also what a build inside a container left there as root."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists() and os.geteuid() != 0:
        where = ("--network=none", "-v", f"{folder.parent}:/cache")
        outer.attempt("run", "--rm", *where, BUILDER, "rm", "-rf", f"/cache/{folder.name}", timeout=120)


def _builder(working: Path, progress: Progress, cancel: Cancel) -> Sequence[str]:
    """The command that builds into WORKING/out: as root by itself, else inside a container of Debian's own image."""
    script = str(ASSETS / "build.sh")
    if os.geteuid() == 0 and all(shutil.which(program, path=_path()) for program in _NEEDED):
        # It must end with us however we end, or it would go on in a folder that is somebody else's by then.
        bound = ("setpriv", "--pdeathsig", "KILL")
        return [*bound, "bash", script, str(ASSETS), str(working / "work"), str(working / "out")]
    if outer.unusable() is None and _builder_image(progress, cancel):
        outer.remove_container(_CONTAINER, cancel)  # of a build that was killed
        return [*_in_container(working)]
    missing = [program for program in _NEEDED if not shutil.which(program, path=_path())]
    raise ConfigError(
        "the sandbox cannot build its droplet here",
        why=_why_not(missing),
        next="sudo apt-get install debootstrap && sudo opsctl sandbox up" if missing else "sudo opsctl sandbox up",
        code="sandbox-cannot-build",
    )


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def _why_not(missing: Sequence[str]) -> str:
    alone = f"{' and '.join(missing)} not installed" if missing else "this user is not root"
    return f"{alone}, and Docker cannot get the image {BUILDER} to build inside"


def _builder_image(progress: Progress, cancel: Cancel) -> bool:
    if outer.has_image(BUILDER, cancel):
        return True
    progress(f"pulling {BUILDER} to build inside (waits for the registry)")
    code, _, _ = procs.attempt(["docker", "pull", "-q", BUILDER], cancel=cancel, timeout=300)
    return code == 0


def _in_container(working: Path) -> Iterator[str]:
    # The work folder is a volume, for overlays cannot be stacked on the container's own.
    install = "apt-get update -q && apt-get install -yq --no-install-recommends debootstrap mount >/dev/null"
    owner = f"{os.getuid()}:{os.getgid()}"
    build = f"{install} && bash /assets/build.sh /assets /work /out/out && chown -R {owner} /out"
    yield from ("docker", "run", "--rm", f"--name={_CONTAINER}", "-e", "OPSCTL_SANDBOX_MIRROR", *outer.NESTING)
    yield from ("-v", f"{ASSETS}:/assets:ro", "-v", "/work", "-v", f"{working}:/out", BUILDER, "sh", "-c", build)
