"""Lines that only the key opens."""

from __future__ import annotations

import base64
import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from opsctl.model.errors import ConfigError
from opsctl.model.migrate_run import SEALED
from opsctl.model.secret import Secret
from opsctl.stores.export_cipher import ExportCipher

KEY = base64.b64encode(bytes(range(32))).decode()
LINE = b'{"key64":"cGF0aWVudDo3","record":{"text":"a diagnosis"}}'


def cipher(key: str = KEY) -> ExportCipher:
    return ExportCipher(Secret(key), "memory")


def test_what_one_process_sealed_another_opens() -> None:
    sealed = cipher().seal(LINE)
    assert sealed.startswith(SEALED) and b"\n" not in sealed
    assert not any(part in sealed for part in (b"cGF0aWVudDo3", b"diagnosis", KEY.encode()))
    assert cipher().open(sealed + b"\n") == LINE


def test_no_two_lines_are_sealed_alike_whoever_seals_them() -> None:
    ours, theirs = cipher(), cipher()
    with ThreadPoolExecutor(8) as pool:
        sealed = list(pool.map(lambda number: (ours if number % 2 else theirs).seal(LINE), range(4000)))
    found = [json.loads(line) for line in sealed]
    assert len({(each["sealed"], each["line"]) for each in found}) == 4000
    assert len({each["data"] for each in found}) == 4000
    assert {cipher().open(line) for line in sealed[:50]} == {LINE}


def test_another_key_opens_nothing_and_says_where_the_right_one_belongs() -> None:
    other = base64.b64encode(os.urandom(32)).decode()
    with pytest.raises(ConfigError) as caught:
        cipher(other).open(cipher().seal(LINE))
    assert caught.value.info.code == "export-key" and "stores.memory.export_key" in caught.value.info.next
    assert other not in f"{caught.value.info}"


@pytest.mark.parametrize("name", ["sealed", "line", "data"])
def test_a_changed_line_is_noticed(name: str) -> None:
    found = json.loads(cipher().seal(LINE))
    if name == "line":
        found["line"] += 1
    else:
        data = bytearray(base64.b64decode(found[name]))
        data[3] ^= 1
        found[name] = base64.b64encode(data).decode()
    with pytest.raises(ConfigError):
        cipher().open(json.dumps(found, separators=(",", ":")).encode())


@pytest.mark.parametrize("key", ["", "correct horse battery staple", base64.b64encode(b"x" * 16).decode(), "é" * 44])
def test_a_password_is_no_key(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cipher(key)
    assert "openssl rand -base64 32" in caught.value.info.next
    assert not key or key not in f"{caught.value.info}"
