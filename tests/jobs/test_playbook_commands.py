"""Steps of a playbook that are commands: which words they become, and what is made of the answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from opsctl.jobs.playbook_find import read
from opsctl.jobs.playbook_jobs import JOBS, SPECS
from opsctl.jobs.playbook_place import Done, Order, Place
from opsctl.model import playbook_format
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ExitCode
from opsctl.model.events import Outcome
from opsctl.model.migrate_shown import RunRecord

COPY = "migrate dragonfly-to-weaviate"


@dataclass
class Opsctl:
    """Answers for the process, and remembers what was typed."""

    result: Mapping[str, Any] = field(default_factory=dict)
    code: ExitCode = ExitCode.DONE
    error: Mapping[str, Any] | None = None
    typed: list[tuple[str, ...]] = field(default_factory=list)

    def command(self, words: Sequence[str], _: Cancel) -> tuple[ExitCode, Mapping[str, Any]]:
        self.typed.append(tuple(words))
        return self.code, {"droplets": [{"result": self.result, "error": None}], "error": self.error}

    def do(self, job: str, *, dry_run: bool = False, run: str = "20260101T000000-abc-copy", **arguments: Any) -> Done:
        place = SimpleNamespace(command=self.command, cancel=Cancel(), droplet=SimpleNamespace(name="app"))
        given = {key.rstrip("_"): value for key, value in arguments.items()}
        return JOBS[job].perform(Order(cast(Place, place), given, run, "opsctl playbook resume", dry_run))


def receipt(**counts: int) -> dict[str, Any]:
    return {"receipt": {"counts": counts}}


def test_arguments_become_options_and_what_is_empty_is_left_out() -> None:
    opsctl = Opsctl(receipt(verified=3, unchanged=1))
    given: dict[str, Any] = {"from_": "memory", "to": "vectors", "model": "", "skip_expiring": 90.0, "rate": 5}
    done = opsctl.do(COPY, **given)
    assert opsctl.typed == [
        (
            *("migrate", "dragonfly-to-weaviate", "--from", "memory", "--to", "vectors"),
            *("--skip-expiring", "90s", "--rate", "5", "--yes"),
        )
    ]
    assert (done.outcome, done.detail) == (Outcome.CHANGED, "3 verified, 1 unchanged")
    assert opsctl.do("migrate qdrant-to-cloud", from_="a", to="b", switch=("x", "y")).error is None
    assert opsctl.typed[-1][2:] == ("--from", "a", "--to", "b", "--switch", "x", "--switch", "y", "--yes")


def test_a_dry_run_asks_for_one_and_a_preview_is_never_anything_else() -> None:
    opsctl = Opsctl({"preview": {"records": 10, "bytes": 2000, "unchanged": 4}})
    done = opsctl.do(COPY, dry_run=True, from_="memory", to="vectors")
    assert done.outcome is Outcome.CHANGED and done.plan == ("copy and verify: 10 records, 2 kB, 4 of them unchanged",)
    looked = opsctl.do("preview dragonfly-to-weaviate", from_="memory", to="vectors")
    assert looked.outcome is Outcome.UNCHANGED and not looked.plan
    assert all("--dry-run" in words and "--yes" not in words for words in opsctl.typed)


def test_what_a_command_says_of_its_failure_is_the_steps() -> None:
    said = {"code": "no-model", "what": "no model", "why": "none", "next": "--model FOLDER", "path": None, "line": None}
    done = Opsctl(code=ExitCode.CONFIG, error=said).do(COPY, from_="memory", to="vectors")
    assert done.error is not None and (done.error.what, done.error.next) == ("no model", "--model FOLDER")
    assert (done.outcome, done.exit_code) == (Outcome.FAILED, ExitCode.CONFIG)
    silent = Opsctl(code=ExitCode.BUG).do(COPY, from_="memory", to="vectors")
    assert silent.error is not None and "ended with 70" in silent.error.what


def test_a_name_that_is_not_given_points_nowhere() -> None:
    opsctl = Opsctl({"plan": {"steps": [{"title": "x A 1 → 2"}]}})
    assert opsctl.do("droplet dns set", name="", value="").outcome is Outcome.UNCHANGED and not opsctl.typed
    assert opsctl.do("droplet dns set", name="x.example.com", value="10.0.0.1", ttl=900).outcome is Outcome.CHANGED
    words = ("droplet", "dns", "set", "x.example.com", "A", "10.0.0.1", "--ttl", "900", "--yes", "-d", "app")
    assert opsctl.typed == [words]


def run_folder(home: Path, run: str, *, ended: datetime, outcome: str = "complete") -> None:
    folder = home / "opsctl" / "migrations" / run
    folder.mkdir(parents=True, mode=0o700)
    record = RunRecord(run, "dragonfly-to-weaviate", ("migrate",), "/", "", "", "", f"{ended:%Y-%m-%dT%H:%M:%SZ}", "1")
    (folder / "run.json").write_text(json.dumps(asdict(record)))
    product = {"product": "x", "version": "1", "address": "x", "identity": "x", "notes": []}
    counts = dict.fromkeys(("scanned", "unchanged", "verified", "quarantined", "vanished", "removed", "changed"), 0)
    stamp = f"{ended:%Y-%m-%dT%H:%M:%SZ}"
    text = {
        "run_id": run,
        "migration": "dragonfly-to-weaviate",
        "started": stamp,
        "ended": stamp,
        "outcome": outcome,
        "source": product,
        "sink": product,
        "transform": {},
        "counts": {**counts, "bytes": 0, "reasons": {}},
        "wanted_checksum": "",
        "stored_checksum": "",
        "export": "",
        "quarantine": "",
        "verified_total": 0,
        "notes": [],
    }
    (folder / "receipt.json").write_text(json.dumps(text))


def test_only_the_playbooks_own_runs_are_finished_and_not_before_their_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    now = datetime.now(UTC)
    run_folder(tmp_path, "20251231T000000-old000", ended=now - timedelta(days=30))
    opsctl, job = Opsctl(receipt(removed=3)), "migrate finish"
    mine: dict[str, Any] = {"migration": "dragonfly-to-weaviate"}
    none = opsctl.do(job, **mine)
    assert none.error is not None and none.error.code == "no-run" and not opsctl.typed
    run_folder(tmp_path, "20260102T000000-first0", ended=now - timedelta(days=1, hours=12))
    early = opsctl.do(job, after=7 * 86400.0, **mine)
    assert early.exit_code is ExitCode.GATE and early.error is not None and "5 d" in early.error.what
    assert not opsctl.typed, "nothing is deleted before"
    done = opsctl.do(job, after=86400.0, **mine)
    assert opsctl.typed == [("migrate", "finish", "20260102T000000-first0", "--yes")]
    assert (done.outcome, done.detail) == (Outcome.CHANGED, "3 removed")


def test_every_run_that_the_playbook_began_is_taken_back_the_newest_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    now = datetime.now(UTC)
    for run in ("20251231T000000-old000", "20260102T000000-first0", "20260103T000000-second"):
        run_folder(tmp_path, run, ended=now)
    opsctl = Opsctl(receipt())
    dry = opsctl.do("migrate rollback", dry_run=True, migration="dragonfly-to-weaviate")
    assert len(dry.plan) == 2 and not opsctl.typed
    opsctl.do("migrate rollback", migration="dragonfly-to-weaviate")
    assert [words[2] for words in opsctl.typed] == ["20260103T000000-second", "20260102T000000-first0"]


@pytest.mark.parametrize("name", ["weaviate-first", "qdrant-to-cloud"])
def test_the_shipped_ones_are_right_to_the_letter(name: str) -> None:
    book = read(name, None, values={"node": "vector"} if name == "weaviate-first" else {})
    assert all(step.call is None or step.call.job in SPECS for step in book.steps)
    assert playbook_format.json_schema(SPECS)
