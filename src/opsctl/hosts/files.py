"""Whole files to and from a host, through its shell: sudo, jump hosts and all are the shell's business."""

from __future__ import annotations

import contextlib
import secrets
from typing import Final

from opsctl.model.cancel import Cancel
from opsctl.model.errors import StepFailed
from opsctl.model.ports import Completed, Script, Shell

_PIECE: Final = 4 << 20

# A piece goes into a file beside the target; the last one gives it its mode, its old owner, and its name.
_PUT: Final = """
set -e
target=$(readlink -f -- "$1") || target=$1
part=$target.$2
umask 077
trap 'c=$?; [ $c = 0 ] || rm -f -- "$part"' EXIT
cat >>"$part"
[ "$3" ] || exit 0
if [ -e "$target" ]; then
  [ ! -d "$target" ] || { echo "$target is a folder" >&2; exit 1; }
  chown --reference="$target" -- "$part" 2>/dev/null || true
fi
chmod "$3" -- "$part"
sync -- "$part" 2>/dev/null || true
mv -f -- "$part" "$target"
"""
_GET: Final = 'dd if="$1" bs="$2" skip="$3" count=1 iflag=fullblock status=none'


def put(shell: Shell, data: bytes, path: str, *, mode: int, cancel: Cancel, timeout: float) -> None:
    """Write a file whole or not at all."""
    bound = cancel.child(timeout)
    part = f"opsctl-{secrets.token_hex(4)}"
    last = max(0, len(data) - 1) // _PIECE * _PIECE
    try:
        for at in range(0, last + 1, _PIECE):
            args = (path, part, f"{mode:o}" if at == last else "")
            script = Script(_PUT, args, stdin=data[at : at + _PIECE])
            _must(shell.run(script, cancel=bound, timeout=timeout), f"{path} could not be written")
    except BaseException:
        if last:
            _forget(shell, f"{path}.{part}")
        raise


def _forget(shell: Shell, part: str) -> None:
    with contextlib.suppress(Exception):  # the first failure is the one to report
        shell.run(Script.of("rm", "-f", "--", part), cancel=Cancel(), timeout=2.0)


def get(shell: Shell, path: str, *, cancel: Cancel, timeout: float) -> bytes:
    """Read a file, in pieces that the host can hold in memory."""
    bound = cancel.child(timeout)
    pieces: list[bytes] = []
    while not pieces or len(pieces[-1]) == _PIECE:
        script = Script(_GET, (path, str(_PIECE), str(len(pieces))))
        pieces.append(_must(shell.run(script, cancel=bound, timeout=timeout), f"{path} could not be read").stdout)
    return b"".join(pieces)


def _must(done: Completed, what: str) -> Completed:
    if done.code:
        raise StepFailed(what, why=done.error_text.splitlines()[-1] if done.error_text else f"status {done.code}")
    return done
