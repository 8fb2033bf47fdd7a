"""The engine's log format, in pieces of any size."""

from __future__ import annotations

import random
import subprocess

import pytest

from opsctl.jobs.logframes import Entry, Frames, unescape

STAMP = "2026-11-20T18:00:00.000000001Z"


def frame(stream: int, payload: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


def decode(data: bytes, *cuts: int) -> list[Entry]:
    frames, found, at = Frames(), [], 0
    for cut in (*cuts, len(data)):
        found += frames.feed(data[at:cut])
        at = cut
    return [*found, *frames.end()]


def test_frames_tell_stdout_from_stderr() -> None:
    data = frame(1, f"{STAMP} up\n".encode()) + frame(2, f"{STAMP} no disk\n".encode())
    assert decode(data) == [Entry(STAMP, "stdout", "up"), Entry(STAMP, "stderr", "no disk")]


@pytest.mark.parametrize("seed", range(20))
def test_cuts_anywhere_change_nothing(seed: int) -> None:
    rng = random.Random(seed)
    texts = ["", "é \\ back", "x" * rng.randrange(600), "tab\there", "\0odd"]
    data = b"".join(frame(rng.choice((1, 2)), f"{STAMP} {text}\n".encode()) for text in texts)
    cuts = sorted(rng.randrange(len(data)) for _ in range(rng.randrange(9)))
    assert [entry.text for entry in decode(data, *cuts)] == texts


def test_a_long_line_in_several_frames_is_one_line() -> None:
    parts = [f"{STAMP} {'a' * 100}", f"{STAMP} {'b' * 100}", f"{STAMP} end\n"]
    between = frame(2, f"{STAMP} other\n".encode())
    data = frame(1, parts[0].encode()) + between + frame(1, parts[1].encode()) + frame(1, parts[2].encode())
    assert [entry.text for entry in decode(data)] == ["other", "a" * 100 + "b" * 100 + "end"]


def test_a_terminals_log_has_no_frames() -> None:
    data = f"{STAMP} one\r\n{STAMP} two".encode()
    assert decode(data) == [Entry(STAMP, "stdout", "one"), Entry(STAMP, "stdout", "two")]


def test_a_frame_cut_off_at_the_end_is_left_out() -> None:
    whole = frame(1, f"{STAMP} one\n".encode())
    assert [entry.text for entry in decode(whole + whole[:-3])] == ["one"]


def test_nothing_gives_nothing() -> None:
    assert decode(b"") == []
    assert decode(b"\n") == []


def test_unescape_gives_back_what_the_real_sed_wrote() -> None:
    raw = b"".join(frame(1, bytes(range(256)) + bytes([n]) * n + b"\n") for n in range(1, 60))
    shown = subprocess.run(["sed", "-n", "l 0"], input=raw, capture_output=True, env={"LC_ALL": "C"}, check=True)
    assert b"".join(unescape(line) for line in shown.stdout.decode("ascii").splitlines()) == raw
