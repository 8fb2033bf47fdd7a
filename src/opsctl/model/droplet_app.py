"""opsctl as it is put onto a droplet: for which Python, and what it consists of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from opsctl.model.cancel import Cancel


@dataclass(frozen=True)
class Target:
    """The Python of a droplet. `libc` is glibc or musl; `libc_version` (2, 36), (0, 0) where it is not known."""

    python: str  # path
    version: tuple[int, int]
    machine: str  # as `uname -m` says it
    libc: str
    libc_version: tuple[int, int]

    @property
    def words(self) -> str:
        """For people."""
        libc = ".".join(map(str, self.libc_version)) if any(self.libc_version) else ""
        return f"Python {self.version[0]}.{self.version[1]}, {self.machine}, {f'{self.libc} {libc}'.strip()}"


@dataclass(frozen=True)
class Bundle:
    """Everything that runs on one kind of droplet. `size` in bytes, unpacked; `digest` is of names and contents."""

    version: str
    digest: str
    packages: Mapping[str, str]  # name → version
    files: int
    size: int
    archive: Callable[[], bytes]  # a tar.gz of it, the same bytes each time

    @property
    def name(self) -> str:
        """Its folder's name on the droplet."""
        return f"{self.version}-{self.digest[:12]}"


class Packer(Protocol):
    """Collects opsctl and what it needs for a droplet, here."""

    def pack(self, target: Target, *, cancel: Cancel) -> Bundle:
        """Raises StepFailed when a package for that target can neither be found here nor fetched."""
        ...
