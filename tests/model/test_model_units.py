"""Sizes and durations: what people write, what they read, and nothing in between."""

from __future__ import annotations

import random

import pytest

from opsctl.model.units import parse_duration, parse_size, show_duration, show_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("1048576", 2**20), (4096, 4096), ("270MB", 270_000_000), ("270 mb", 270_000_000), ("256MiB", 2**28),
        ("2g", 2**31), ("2G", 2**31), ("64k", 2**16), ("1.5GiB", 3 * 2**29), ("1.5GB", 1_500_000_000), ("5b", 5),
        ("1TB", 10**12), (" 85MB ", 85_000_000), ("0.5m", 2**19),
    ],
)  # fmt: skip
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "MB", "-1MB", "1,5GB", "1 000", "12XB", "1e6", "1MB2", "٣MB ٣", "∞", "1..5m", "0x10"]
)
def test_what_is_no_size_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="270MB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("500ms", 0.5),
        ("1m30s", 90),
        ("2h", 7200),
        ("1h 5m", 3900),
        ("1d", 86400),
        (5, 5),
        (0.25, 0.25),
        ("1.5m", 90),
    ],
)
def test_durations(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "30", "1x", "m30", "30s!", "-3s", "1m30", "now", "1,5s"])
def test_what_is_no_duration_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="30s"):
        parse_duration(text)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_shown_can_be_read_back_within_its_precision(seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(50):
        size = dice.randrange(10 ** dice.randint(1, 13))
        assert parse_size(show_size(size)) == pytest.approx(size, rel=0.06, abs=500)
        seconds = dice.random() * 10 ** dice.randint(0, 5)
        assert parse_duration(show_duration(seconds).replace("min", "m")) == pytest.approx(seconds, rel=0.04, abs=0.06)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0 s"),
        (9.96, "10.0 s"),
        (59.6, "1 min 00 s"),
        (3599.7, "1 h 00 min"),
        (86399.9, "1 d 0 h"),
        (90, "1 min 30 s"),
    ],
)
def test_durations_round_into_the_next_unit(seconds: float, shown: str) -> None:
    assert show_duration(seconds) == shown


def test_unknown_is_never_zero() -> None:
    assert show_size(None) == "unknown"
    assert show_size(0) == "0 B"
    assert show_size(-5_000_000) == "-5.0 MB"
