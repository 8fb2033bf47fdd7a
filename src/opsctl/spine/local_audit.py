"""Who did what to a droplet while it could not write that down itself: through the cloud, with the host away."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opsctl.model.errors import StepFailed
from opsctl.spine import audit
from opsctl.spine.journal import state_home
from opsctl.spine.processes import born


def path(folder: Path | None = None) -> Path:
    """The file on this machine; `folder` replaces its usual place."""
    return (folder or state_home()) / "audit.jsonl"


def begin(entry: audit.Entry, droplet: str, *, folder: Path | None = None) -> None:
    """Write that a run begins. Raises StepFailed, and then nothing may be changed: the audit has no hole."""
    _append(audit.begin(entry), droplet, folder)


def end(
    run_id: str,
    droplet: str,
    *,
    outcome: str,
    exit_code: int,
    seconds: float,
    detail: str = "",
    folder: Path | None = None,
) -> None:
    """Write how it ended: `outcome` is done, failed or interrupted; `detail` is redacted already. Raises StepFailed."""
    line = audit.end(run_id, outcome=outcome, exit_code=exit_code, seconds=seconds, detail=detail)
    _append(line, droplet, folder)


def lines(droplet: str, *, folder: Path | None = None) -> tuple[str, ...]:
    """The lines about one droplet, the oldest first; none where there is no file or it cannot be read."""
    try:
        every = path(folder).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    return tuple(line for line in every if _droplet(line) == droplet)


def _droplet(line: str) -> str:
    try:
        value: Any = json.loads(line)
    except ValueError:
        return ""
    return str(value.get("droplet", "")) if isinstance(value, dict) else ""


def _append(rest: str, droplet: str, folder: Path | None) -> None:
    where = path(folder)
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    ours = os.getpid()
    stamp = json.dumps({"at": now, "droplet": droplet, "pid": ours, "born": born(ours)}, ensure_ascii=False)
    data = f"{stamp[:-1]},{rest}\n".encode()
    try:
        where.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # One write to a file opened for appending: two commands never tear each other's lines.
        number = os.open(where, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(number, data)
        finally:
            os.close(number)
    except OSError as error:
        raise StepFailed(
            f"{where} cannot be written, and so nothing was begun",
            why=str(error),
            next=f"df -h {where.parent}; ls -ld {where.parent}",
            code="no-audit",
        ) from None
