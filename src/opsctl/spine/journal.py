"""What has been done, written on the host in the same round trip as the step itself, and a copy here.

The host's file is the truth; the local copy is for when the host cannot be reached.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from opsctl.model.plan import Plan
from opsctl.model.ports import Script
from opsctl.model.run import RunResult

MOVED = 86  # exit status of a guard script whose fact does not hold any more
NO_JOURNAL = 87  # the journal could not be written, and so the step was not begun

_WRAP = """
_journal=$1 _begin=$2 _end=$3; shift 3
_stamp() {{
  local up rest; read -r up rest </proc/uptime
  TZ=UTC printf '{{"at":"%(%Y-%m-%dT%H:%M:%SZ)T","up":%s' -1 "$up"
}}
{{ _stamp; printf ',%s\\n' "$_begin"; }} >>"$_journal" || exit {no_journal}
(
{inner}
)
_code=$?
{{ _stamp; printf ',"code":%d,%s\\n' "$_code" "$_end"; }} >>"$_journal"
exit "$_code"
"""

_CHAIN = """
_n=$1; shift
(
set -- "${{@:1:_n}}"
{first}
) || exit $?
shift "$_n"
{second}
"""


def chain(first: Script, second: Script) -> Script:
    """Both in one round trip: `second` only if `first` succeeded, else its exit status. stdin goes to `second`."""
    return Script(
        _CHAIN.format(first=first.text, second=second.text),
        (str(len(first.args)), *first.args, *second.args),
        {**first.secrets, **second.secrets},
        second.stdin,
    )


def wrap(script: Script, path: str, *, steps: tuple[str, ...], kind: str) -> Script:
    """The script with a journal line before and after it; the step is not begun when the line cannot be written."""
    begin = _line({"event": "begin", "kind": kind, "steps": list(steps)})
    end = _line({"event": "end", "kind": kind, "steps": list(steps)})
    return Script(
        _WRAP.format(inner=script.text, no_journal=NO_JOURNAL),
        (path, begin, end, *script.args),
        script.secrets,
        script.stdin,
    )


def head(plan: Plan, *, run: str, name: str, command: str, redact: Callable[[str], str]) -> str:
    """The line before the first step, without its stamp: what was meant to be done. `command` is redacted already."""
    steps = [[step.id, redact(step.title)] for step in plan.steps]
    return _line({"event": "run", "run": run, "name": name, "command": command, "plan": plan.id, "steps": steps})


def tail(run: RunResult, *, redact: Callable[[str], str]) -> str:
    """The line after the last step: how each of them ended."""
    ends = {
        step.id: ["taken back" if step.id in run.undone else step.outcome.value, redact(step.detail)]
        for step in run.steps
    }
    return _line({"event": "over", "exit_code": int(run.exit_code), "steps": ends})


def bash_said(text: str) -> str:
    """The last line of bash's complaints, without where in the script it stood."""
    lines = text.strip().splitlines()
    return re.sub(r"^.*?: line \d+: ", "", lines[-1]) if lines else ""


def _line(value: Mapping[str, Any]) -> str:
    # The opening brace is the stamp's: the host's clock, not this machine's.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))[1:]


def state_home() -> Path:
    """Where this machine keeps its copies."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "opsctl"


_KEEP = 200  # files
_KEEP_FOR = 30 * 86400.0  # s


def prune(folder: Path, *, keep: int = _KEEP, seconds: float = _KEEP_FOR) -> None:
    """Remove the copies that are older than `seconds`, and the oldest beyond `keep` of them."""
    with suppress(OSError):
        found = sorted(((each.stat().st_mtime, each) for each in folder.glob("*.jsonl")), reverse=True)
        for number, (changed, each) in enumerate(found):
            if number >= keep or time.time() - changed > seconds:
                each.unlink(missing_ok=True)


class LocalCopy:
    """The run as this machine saw it. Never the reason for a failure: a full disk here harms no droplet.

    The first line of a run makes room: copies of long ago go.
    """

    def __init__(self, run_id: str, droplet: str, *, folder: Path | None = None) -> None:
        self._path = (folder or state_home() / "runs") / f"{run_id}-{droplet.replace('/', '_')}.jsonl"
        self._lock = threading.Lock()
        self._broken = False

    @property
    def path(self) -> Path:
        """The file; it exists after the first line."""
        return self._path

    def write(self, value: Mapping[str, Any]) -> None:
        """Append one line."""
        text = json.dumps(value, ensure_ascii=False, default=str) + "\n"
        with self._lock:
            if self._broken:
                return
            try:
                if not self._path.exists():
                    self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                    prune(self._path.parent, keep=_KEEP - 1)
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(text)
            except OSError:
                self._broken = True
