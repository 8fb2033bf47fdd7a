"""Work under way on a host, and how the frames of its agent become output."""

from __future__ import annotations

import base64
import threading
from collections import deque
from dataclasses import dataclass, field

from opsctl.model.errors import OpsError


@dataclass
class Work:
    """One script under way; the reader thread fills it, one caller waits on it."""

    number: int
    slot: int
    changed: threading.Condition = field(default_factory=threading.Condition)
    stdout: list[bytes] = field(default_factory=list)
    stderr: list[bytes] = field(default_factory=list)
    lines: deque[str] = field(default_factory=deque)
    part: bytes = b""
    overflow: bool = False
    code: int | None = None
    failure: OpsError | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.code is not None or self.failure is not None

    def take(self, kind: bytes, rest: bytes) -> None:
        """One frame's worth; called by the reader thread only."""
        with self.changed:
            if kind == b"o":
                self.stdout.append(base64.b64decode(rest))
            elif kind == b"e":
                self.stderr.append(base64.b64decode(rest))
            elif kind == b"+":
                self.part += rest
            elif kind == b"=":
                self.lines.append((self.part + rest).decode(errors="replace"))
                self.part = b""
            elif kind == b"f":
                self.overflow = True
            elif kind == b"x":
                self.code = int(rest)
            self.changed.notify_all()

    def fail(self, error: OpsError) -> None:
        """Nothing more will come: the channel is gone."""
        with self.changed:
            self.failure = error
            self.changed.notify_all()


class Lines:
    """Cuts a byte stream into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The whole lines that `data` completes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines
