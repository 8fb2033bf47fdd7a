"""A container image of a few of this machine's own programs: real containers without a registry or a download."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

IMAGE = "h5-tiny:1"
PROGRAMS = ("bash", "sleep", "cat", "date", "ls", "id", "tty")


def _files() -> dict[str, Path]:
    """Paths in the image and where they come from: the programs, and the libraries they load."""
    found: dict[str, Path] = {}
    for name in PROGRAMS:
        program = Path(shutil.which(name) or f"/bin/{name}").resolve()
        found[f"bin/{name}"] = program
        loaded = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
        for library in re.findall(r"(/\S+)", loaded):
            found[library.lstrip("/")] = Path(library).resolve()
    found["bin/sh"] = Path(shutil.which("sh") or "/bin/sh").resolve()
    return found


def build() -> str:
    """Import the image unless it is there; its name."""
    if subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, check=False).returncode == 0:
        return IMAGE
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, source in _files().items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = source.stat().st_size, 0o755
            with source.open("rb") as data:
                tar.addfile(info, data)
        for folder in ("tmp", "root", "etc"):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
    subprocess.run(["docker", "import", "-", IMAGE], input=buffer.getvalue(), capture_output=True, check=True)
    return IMAGE


@dataclass
class Engine:
    """This machine's engine; what a test starts through it is removed after the test."""

    prefix: str = field(default_factory=lambda: f"h5-{os.getpid()}-{uuid.uuid4().hex[:6]}")
    started: list[str] = field(default_factory=list)

    def name(self, name: str) -> str:
        """A container's name that nobody else uses."""
        return f"{self.prefix}-{name}"

    def run(self, name: str, command: str, *options: str, service: str = "") -> str:
        """Start a container that runs a bash command; its name. With `service` it carries compose's labels."""
        full = self.name(name)
        labels = ["--label", f"com.docker.compose.project={self.prefix}"] if service else []
        labels += ["--label", f"com.docker.compose.service={service}"] if service else []
        self.docker("run", "-d", "--name", full, *labels, *options, build(), "/bin/bash", "-c", command)
        self.started.append(full)
        return full

    def docker(self, *words: str) -> str:
        """Run docker; its stdout."""
        done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"docker {' '.join(words)}\n{done.stderr}"
        return done.stdout.strip()

    def clean(self) -> None:
        """Remove what was started."""
        if self.started:
            subprocess.run(["docker", "rm", "-fv", *self.started], capture_output=True, check=False)


@contextmanager
def real_engine() -> Iterator[Engine]:
    """An Engine for one test, or a skip that says why there is none."""
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no Docker engine answers on this machine")
    engine = Engine()
    try:
        yield engine
    finally:
        engine.clean()
