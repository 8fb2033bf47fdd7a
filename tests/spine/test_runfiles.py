"""Lines that survive a kill, documents that are replaced whole, and the last line of each key."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from opsctl.model.errors import OpsError
from opsctl.spine import runfiles
from opsctl.spine.ledger_file import DiskFull
from opsctl.spine.runfiles import Latest, Lines


@pytest.mark.parametrize("torn", [b"", b"{", b"x" * 200_000])
def test_a_torn_last_line_is_cut_off_and_the_next_stands_alone(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "run" / "lines"
    lines = Lines(path)
    lines.append([b"one", b"two"])
    lines.close()
    with path.open("ab") as file:
        file.write(torn)
    assert [line for _begin, line in runfiles.read(path)] == [b"one\n", b"two\n"]
    lines = Lines(path)
    lines.append([b"three"])
    lines.append([])
    lines.close()
    assert path.read_bytes() == b"one\ntwo\nthree\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_one_torn_line_becomes_empty(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"torn")
    Lines(path).close()
    assert path.read_bytes() == b""


def test_no_room_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines"
    lines = Lines(path)
    lines.append([b"one"])
    whole = os.write

    def half(file: int, data: memoryview) -> int:
        if len(data) < 5:
            raise OSError(28, "No space left on device")
        return whole(file, data[:3])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(DiskFull):
        lines.append([b"two two"])
    monkeypatch.undo()
    lines.append([b"three"])
    lines.close()
    assert path.read_bytes() == b"one\nthree\n"


def test_a_document_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "run" / "receipt.json"
    runfiles.replace(path, {"n": 1, "text": "\ud800 ü"})
    runfiles.replace(path, {"n": 2})
    assert json.loads(path.read_text()) == {"n": 2}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["receipt.json"]


def test_a_folder_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(OpsError, match="cannot be written"):
        Lines(tmp_path / "x")


def test_the_last_line_of_each_key_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"a1\nb1\na2\nc1\n")
    latest = Latest()
    latest.add((line[:1], begin) for begin, line in runfiles.read(path))
    assert len(latest) == 3
    assert list(latest.lines(path)) == [b"b1\n", b"a2\n", b"c1\n"]
    latest.close()
