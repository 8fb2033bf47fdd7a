"""A host for work that only reads: what a dropped connection interrupted is asked for once more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConnectionLost
from opsctl.model.ports import Completed, Endpoint, Guard, GuardSpec, Host, Privilege, Script

_Result = TypeVar("_Result")


def reading(host: Host) -> Host:
    """The same host; only for jobs whose scripts may run twice."""
    return _Reading(host)


def _twice(work: Callable[[], _Result]) -> _Result:
    try:
        return work()
    except ConnectionLost:
        return work()


class _Reading:
    def __init__(self, host: Host) -> None:
        self._host = host

    @property
    def name(self) -> str:
        return self._host.name

    @property
    def address(self) -> str:
        return self._host.address

    def privilege(self, *, cancel: Cancel) -> Privilege:
        return _twice(lambda: self._host.privilege(cancel=cancel))

    def run(self, script: Script, *, cancel: Cancel, timeout: float) -> Completed:
        bound = cancel.child(timeout)
        return _twice(lambda: self._host.run(script, cancel=bound, timeout=timeout))

    def stream(self, script: Script, *, cancel: Cancel, timeout: float | None) -> Iterator[str]:
        # A stream that has begun is not begun again: its reader has seen lines that would come twice.
        return self._host.stream(script, cancel=cancel, timeout=timeout)

    def guard(self, spec: GuardSpec, *, cancel: Cancel) -> Guard:
        return self._host.guard(spec, cancel=cancel)

    def put(self, data: bytes, path: str, *, mode: int, cancel: Cancel, timeout: float) -> None:
        self._host.put(data, path, mode=mode, cancel=cancel, timeout=timeout)

    def get(self, path: str, *, cancel: Cancel, timeout: float) -> bytes:
        return _twice(lambda: self._host.get(path, cancel=cancel, timeout=timeout))

    def forward(
        self, target_host: str, target_port: int, *, local_port: int | None = None
    ) -> AbstractContextManager[Endpoint]:
        return self._host.forward(target_host, target_port, local_port=local_port)

    def interactive(self, argv: Sequence[str], *, tty: bool, cancel: Cancel) -> int:
        return self._host.interactive(argv, tty=tty, cancel=cancel)

    def close(self) -> None:
        self._host.close()
