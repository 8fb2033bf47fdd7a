"""A migration whose export is encrypted: killed, finished, rolled back, and what is said without the key."""

from __future__ import annotations

import base64
import os
import shutil
from pathlib import Path

import pytest
from tests.jobs.migrate_memory import MemorySource, Try, numbered

from opsctl.jobs import migrate
from opsctl.jobs.migrate_export import write
from opsctl.jobs.migrate_recover import relearn
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError
from opsctl.model.migrate import State
from opsctl.model.migrate_run import SEALED, Cipher, Migration
from opsctl.model.migrate_shown import RunRecord
from opsctl.model.secret import Secret
from opsctl.spine.ledger import Ledger
from opsctl.spine.run_folder import RunFolder
from opsctl.stores.export_cipher import ExportCipher

KEY = base64.b64encode(os.urandom(32)).decode()


def cipher(key: str = KEY) -> Cipher:
    return ExportCipher(Secret(key), "memory")


@pytest.fixture
def work(tmp_path: Path) -> Try:
    return Try(tmp_path, MemorySource(numbered(95)))


def sealed(work: Try, name: str = "first") -> Migration:
    return work.run(name, cipher=cipher())


def test_there_finished_and_back(work: Try) -> None:
    before = dict(work.source.values)
    migrate.run(sealed(work))
    migrate.finish(sealed(work, "second"))
    assert not work.source.values
    for name in ("first", "second"):
        lines = work.run(name).export.read_bytes().splitlines()
        assert len(lines) == 95 and all(line.startswith(SEALED) for line in lines)
    migrate.rollback(sealed(work, "second"))
    assert work.source.values == before
    migrate.rollback(sealed(work))
    assert not work.sink.stored


def test_what_was_written_and_not_settled_is_known_after_a_kill(work: Try) -> None:
    """As a kill leaves it: the export whole but for its last line, and a ledger that never heard of it."""
    migrate.run(sealed(work))
    work.run().ledger.unlink()
    made = Ledger(work.run().ledger, "first", work.run().export)
    made.close()
    with work.run().export.open("ab") as file:
        file.write(cipher().seal(b'{"key64":"torn"}')[:40])
    work.source.values[b"new"] = b"new"
    receipt = migrate.run(sealed(work))
    assert receipt.counts.verified == 96
    work.whole()
    ledger = Ledger(work.run().ledger, "looks")
    assert ledger.counts() == {State.VERIFIED: 96}
    ledger.close()
    assert all(line.startswith(SEALED) and line.endswith(b'"}') for line in work.run().export.read_bytes().splitlines())
    migrate.rollback(sealed(work))
    assert not work.sink.stored


def test_without_the_key_nothing_is_taken_back_and_it_is_said(work: Try, tmp_path: Path) -> None:
    migrate.run(sealed(work))
    work.source.values.clear()
    stored = dict(work.sink.stored)
    for run in (work.run(), work.run(cipher=cipher(base64.b64encode(os.urandom(32)).decode()))):
        with pytest.raises(ConfigError) as caught:
            migrate.rollback(run)
        assert caught.value.info.code == "export-key" and "export_key" in caught.value.info.next
        with pytest.raises(ConfigError):
            write(run.export, tmp_path / "rows.csv", force=False, cancel=Cancel(None), cipher=run.cipher)
    assert (work.source.values, work.sink.stored) == ({}, stored)
    assert not (tmp_path / "rows.csv").exists()


def test_a_run_that_began_without_a_key_goes_on_with_one(work: Try) -> None:
    before = dict(work.source.values)
    migrate.run(work.run())
    work.source.values[b"new"] = b"new"
    migrate.run(sealed(work))
    begins = [line.startswith(SEALED) for line in work.run().export.read_bytes().splitlines()]
    assert begins == [*[False] * 95, True]
    work.source.values.clear()
    migrate.rollback(sealed(work))
    assert work.source.values == {**before, b"new": b"new"}


def test_a_lost_ledger_hears_of_what_can_be_opened_and_of_nothing_else(work: Try, tmp_path: Path) -> None:
    migrate.run(sealed(work))
    made = work.run()
    record = RunRecord("first", made.name, (), "", "", "", "", "", "", ledger=str(made.ledger))
    RunFolder(made.folder).write("run.json", record)
    shutil.rmtree(made.ledger.parent)
    assert relearn(made.ledger, None, tmp_path) == 0 and not made.ledger.exists()
    assert relearn(made.ledger, cipher(), tmp_path) == 1
    assert relearn(made.ledger, cipher(), tmp_path) == 0, "it is there again"
    migrate.run(sealed(work, "second"))
    work.whole()
