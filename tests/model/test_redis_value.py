"""What there are millions of is made in a shorter way, and is the same."""

from __future__ import annotations

import hashlib
import json
import random

import pytest

from opsctl.model.checksum import Checksum
from opsctl.model.migrate import Record, digest
from opsctl.model.redis_value import Held, content_digest, fields_of, from_json, held, to_json, to_json_text

TEXTS = [b"", b"a", "ünï 漢字 🙂".encode(), b'"', b"\\", b"base64:x", b'"base64:', b"\x00\x1f", b"\xff", b"x" * 3000]


def spelled_out(*parts: bytes) -> bytes:
    """A digest by its definition."""
    joined = b"".join(len(each).to_bytes(8, "big") + each for each in parts)
    return hashlib.blake2b(joined, digest_size=16).digest()


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 200_000])
def test_a_digest_is_of_its_parts_and_where_they_end(size: int) -> None:
    assert digest(b"x" * size) == spelled_out(b"x" * size)
    assert digest(b"x" * size, b"y") == spelled_out(b"x" * size, b"y")


def test_a_hash_has_its_fields_and_the_digest_of_them_in_order() -> None:
    luck = random.Random(11)
    for _ in range(500):
        names = list({luck.randbytes(luck.randint(0, 5)) for _ in range(luck.randint(1, 9))})
        luck.shuffle(names)
        parts = [each for name in names for each in (name, luck.choice(TEXTS))]
        fields, content = fields_of(parts)
        pairs = sorted(zip(parts[::2], parts[1::2], strict=True))
        assert list(fields.items()) == list(zip(parts[::2], parts[1::2], strict=True))
        assert content == content_digest("hash", parts)
        assert content == spelled_out(b"hash", *(each for pair in pairs for each in pair))


@pytest.mark.parametrize("ends", [None, 1_764_000_000_000])
def test_json_by_hand_is_the_encoder_s_or_left_to_it(ends: int | None) -> None:
    taken = 0
    for key in TEXTS:
        for value in TEXTS:
            for held_value in (value, {b"f": value, value: b"v"}, Held("list", (value,))):
                record = Record(key, held_value, b"", 0)
                wanted = to_json(key, held(record, ends))
                text = to_json_text(record, ends)
                assert text is None or text == json.dumps(wanted, separators=(",", ":"))
                taken += text is not None
                assert from_json(json.loads(text or json.dumps(wanted))) == (key, held(record, ends))
    assert taken > 60


def test_many_pairs_make_the_checksum_that_each_of_them_makes() -> None:
    pairs = [(b"k%d" % number, digest(b"%d" % number)) for number in range(500)] + [(b"odd", b"short"), (b"none", b"")]
    one, all_ = Checksum(), Checksum()
    for key, content in pairs:
        one.add(key, content)
    all_.add_all(pairs)
    assert (all_.hex(), all_.count) == (one.hex(), one.count)
