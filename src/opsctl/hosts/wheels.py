"""Fetches a wheel for another Python, processor or libc than this one's, and keeps it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from opsctl.model.cancel import Cancel
from opsctl.model.droplet_app import Target
from opsctl.model.errors import StepFailed

_BOUND = 180.0  # s
_GLIBC = (17, 24, 27, 28, 31, 34, 35, 36, 38, 39, 40, 41)  # the minor versions of 2.x that wheels are built for
_OLD_NAMES = {17: "manylinux2014", 12: "manylinux2010"}
_MUSL = (1, 2)


def cache() -> Path:
    """Where wheels are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "opsctl" / "wheels"


def is_here(target: Target) -> bool:
    """Whether what is compiled for this Python runs on the target too."""
    kind, version = platform.libc_ver()
    mine = tuple(int(part) for part in version.split(".")[:2]) if version else (0, 0)
    return (
        target.version == sys.version_info[:2]
        and target.machine == platform.machine()
        and target.libc == kind == "glibc"
        and sys.platform == "linux"
        # Wheels are built against an older libc than ours; what was compiled here needs ours.
        and target.libc_version >= mine
    )


def platforms(target: Target) -> list[str]:
    """The platform tags of wheels that run on the target, the most demanding first."""
    if target.libc == "musl":
        return [f"musllinux_1_{minor}_{target.machine}" for minor in reversed(_MUSL)]
    major, minor = target.libc_version if any(target.libc_version) else (2, 17)
    fit = [each for each in reversed(_GLIBC) if (2, each) <= (major, minor)]
    names = [f"manylinux_2_{each}_{target.machine}" for each in fit]
    return [*names, *(f"{_OLD_NAMES[each]}_{target.machine}" for each in fit if each in _OLD_NAMES)]


def arguments(name: str, version: str, target: Target, folder: Path) -> list[str]:
    """What `pip` is asked. Pure."""
    python = f"{target.version[0]}{target.version[1]}"
    words = ["download", "--quiet", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-input"]
    words += ["--dest", str(folder), "--python-version", python, "--implementation", "cp"]
    for abi in (f"cp{python}", "abi3", "none"):
        words += ["--abi", abi]
    for each in platforms(target):
        words += ["--platform", each]
    return [*words, f"{name}=={version}"]


def fetch(name: str, version: str, target: Target, *, cancel: Cancel) -> Iterator[tuple[str, bytes]]:
    """The files of a wheel for the target. Raises StepFailed where it is neither kept here nor to be had."""
    tag = f"{name}-{version}-cp{target.version[0]}{target.version[1]}-{target.libc}-{target.machine}"
    folder = cache() / tag
    kept = _kept(folder)
    if kept is None:
        _download(name, version, target, folder, cancel)
        kept = _kept(folder)
    if kept is None:
        raise _missing(name, version, target, folder, "pip said yes and left no wheel")
    return _unpacked(kept)


def _kept(folder: Path) -> Path | None:
    return next((path for path in sorted(folder.glob("*.whl")) if zipfile.is_zipfile(path)), None)


def _unpacked(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as wheel:
        for info in wheel.infolist():
            if not info.is_dir() and ".data/" not in info.filename:
                yield info.filename, wheel.read(info)


def _download(name: str, version: str, target: Target, folder: Path, cancel: Cancel) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    argv = [*_pip(name, version, target, folder), *arguments(name, version, target, folder)]
    bound = cancel.child(_BOUND)
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        while process.poll() is None:
            if bound.wait(0.1):
                process.terminate()
                break
        assert process.stdout is not None
        said = process.stdout.read().decode(errors="replace").strip().splitlines()
        code = process.wait()
    cancel.check(f"fetching {name}")
    if code != 0:
        told = [line for line in said if line.startswith("ERROR")] or said
        raise _missing(
            name, version, target, folder, told[-1].removeprefix("ERROR: ") if told else f"pip ended with {code}"
        )


def _pip(name: str, version: str, target: Target, folder: Path) -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    for program in ("pip3", "pip"):
        if found := shutil.which(program):
            return [found]
    raise _missing(name, version, target, folder, "there is no pip here to fetch it with")


def _missing(name: str, version: str, target: Target, folder: Path, why: str) -> StepFailed:
    python = ".".join(map(str, target.version))
    return StepFailed(
        f"no wheel of {name} {version} for the droplet ({target.words})",
        why=why,
        next=f"where there is a network: python3 -m pip download --only-binary=:all: --no-deps"
        f" --python-version {python} --platform {platforms(target)[-1]} {name}=={version} -d {folder}",
        code="no-wheel",
    )
