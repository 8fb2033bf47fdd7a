"""The state of a playbook's runs: a file a run on the droplet, which is the truth, and a copy here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opsctl.model.cancel import Cancel
from opsctl.model.errors import StepFailed, UsageError
from opsctl.model.ports import Script, Shell
from opsctl.spine.journal import bash_said, prune, state_home

_NAME = re.compile(r"\d{8}T\d{6}-[0-9a-f]{6}")
_BOUND = 20.0  # s
_KEEP = 100  # runs
_APPEND = r"""
umask 002
mkdir -p "$1" && file=$1/$2.jsonl || exit 87
[ -e "$file" ] || { ls -t "$1"/*.jsonl 2>/dev/null | tail -n +"$3" | xargs -r rm -f --; }
# A line that was cut short by a crash must not swallow the next.
[ ! -s "$file" ] || [ -z "$(tail -c 1 "$file")" ] || echo >>"$file" || exit 87
shift 3
printf '%s\n' "$@" >>"$file" && { sync -d "$file" 2>/dev/null || true; }
"""
_READ = 'cat -- "$1/$2.jsonl" 2>/dev/null || true'
_LIST = r"""
for file in $(ls -t "$1"/*.jsonl 2>/dev/null | head -n "$2"); do
  printf 'FILE %s\n' "$(basename "$file" .jsonl)"; cat -- "$file"
done
"""


class Store:
    """The lines of one run, at both places."""

    def __init__(self, run: str, state_dir: str, *, folder: Path | None = None) -> None:
        self.run = run
        self._remote = f"{state_dir}/playbooks"
        self._local = (folder or state_home() / "playbooks") / f"{run}.jsonl"
        self.lines: list[dict[str, Any]] = []
        self._there = 0  # how many of them the droplet has

    def load(self, shell: Shell | None, cancel: Cancel) -> None:
        """Read what is known; without a shell only what this machine has. The droplet's word counts."""
        self.lines = _parsed(self._read_local())
        if shell is None:
            return
        answer = shell.run(Script(_READ, (self._remote, self.run)), cancel=cancel, timeout=_BOUND)
        there = _parsed(answer.text.splitlines())
        # While the droplet was away its copy could not grow; anything else that differs, it knows better.
        if len(there) >= len(self.lines) or self.lines[: len(there)] != there:
            self.lines = there
            self._copy(there)
        self._there = len(there)

    def add(self, shell: Shell | None, line: Mapping[str, Any], cancel: Cancel) -> Mapping[str, Any]:
        """Write one line, and with it what the droplet has missed; returns it. Raises StepFailed, ConnectionLost."""
        stamped = {"at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", **line}
        self.lines.append(stamped)
        try:
            self.push(shell, cancel)
        finally:
            self._append_local(stamped)
        return stamped

    def push(self, shell: Shell | None, cancel: Cancel) -> None:
        """Give the droplet the lines that it has not. Raises StepFailed, ConnectionLost."""
        missing = self.lines[self._there :]
        if shell is None or not missing:
            return
        texts = tuple(_text(each) for each in missing)
        script = Script(_APPEND, (self._remote, self.run, str(_KEEP), *texts))
        answer = shell.run(script, cancel=cancel, timeout=_BOUND)
        if answer.code:
            raise StepFailed(
                "the state of the playbook cannot be written, and so nothing more was begun",
                why=bash_said(answer.error_text) or f"exit status {answer.code}",
                next=f"on the droplet: df -h {self._remote}; ls -ld {self._remote}",
                code="no-state",
            )
        self._there += len(missing)

    def _read_local(self) -> list[str]:
        try:
            return self._local.read_text(encoding="utf-8").splitlines()
        except OSError:
            return []

    def _copy(self, lines: Sequence[Mapping[str, Any]]) -> None:
        if not lines:
            return
        try:
            self._local.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._local.write_text("".join(f"{_text(each)}\n" for each in lines), encoding="utf-8")
        except OSError:
            return  # a full disk here harms no droplet

    def _append_local(self, line: Mapping[str, Any]) -> None:
        try:
            if not self._local.exists():
                self._local.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                prune(self._local.parent)
            with self._local.open("a", encoding="utf-8") as file:
                file.write(f"{_text(line)}\n")
        except OSError:
            return


def recent(shell: Shell, state_dir: str, cancel: Cancel, *, limit: int = 20) -> list[tuple[str, list[dict[str, Any]]]]:
    """The droplet's runs with their lines, the newest first."""
    script = Script(_LIST, (f"{state_dir}/playbooks", str(limit)))
    found: list[tuple[str, list[str]]] = []
    for line in shell.run(script, cancel=cancel, timeout=_BOUND).text.splitlines():
        if line.startswith("FILE "):
            found.append((line.removeprefix("FILE "), []))
        elif found:
            found[-1][1].append(line)
    return sorted(((run, _parsed(lines)) for run, lines in found), reverse=True)


def recent_here(*, folder: Path | None = None, limit: int = 20) -> list[tuple[str, list[dict[str, Any]]]]:
    """This machine's copies, the newest first."""
    paths = sorted((folder or state_home() / "playbooks").glob("*.jsonl"), reverse=True)[:limit]
    return [(path.stem, _parsed(path.read_text(encoding="utf-8").splitlines())) for path in paths]


def check_name(run: str) -> str:
    """The name of a run; of a step's own run, as the audit has it, its playbook's. Raises UsageError."""
    if found := _NAME.match(run):
        return found[0]
    if not run or not all(each.isalnum() or each == "-" for each in run):
        raise UsageError(f"{run!r} is no run", why="a run is named like 20261120T185312-3f9a1c", next=LIST)
    return run


LIST = "opsctl playbook list --runs"


def _text(line: Mapping[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"))


def _parsed(lines: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue  # half written by somebody who died right then
        if isinstance(value, dict):
            found.append(value)
    return found
