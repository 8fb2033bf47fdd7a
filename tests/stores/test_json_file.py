"""The state file: read whole, changed whole or not at all, and not a byte of a session touched."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from opsctl.jobs.graph_sessions import KeysToSessions, SessionsToKeys
from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, StepFailed
from opsctl.model.json_sessions import parsed, session_digest, sessions, together
from opsctl.model.migrate import Item, Record, Rejected, Removal
from opsctl.model.redis_value import Held
from opsctl.model.secret import Secret
from opsctl.model.store import Target
from opsctl.stores.json_file import JsonFile

TEXT = '{"a": {"n": 1.00, "t": "\\u00e9é"},\n\t"b" : {} , "ключ": {"deep": [[[]]]}, "version": 3}\n'


@pytest.fixture
def cancel() -> Cancel:
    return Cancel(60)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "graph_state.json"
    found.write_text(TEXT)
    found.chmod(0o640)
    return found


def store(path: Path, **more: object) -> JsonFile:
    return JsonFile(Target("json", Secret(str(path)), path.name, str(path)), **more)  # type: ignore[arg-type]


def scanned(file: JsonFile, cancel: Cancel) -> dict[bytes, Record]:
    return {record.key: record for batch in file.scan(2, cancel) for record in batch}


def test_each_session_is_read_byte_for_byte(path: Path, cancel: Cancel) -> None:
    found = scanned(store(path), cancel)
    assert found[b"a"].value == '{"n": 1.00, "t": "\\u00e9é"}'.encode()
    assert found["ключ".encode()].value == b'{"deep": [[[]]]}'
    assert [key for key, record in found.items() if record.fault] == [b"version"]


def test_removed_and_restored_with_its_mode_and_a_copy_of_before(path: Path, cancel: Cancel) -> None:
    file = store(path)
    found = scanned(file, cancel)
    dumped = [json.loads(json.dumps(file.dump(record))) for record in found.values()]
    seen = [(found[b"a"].key, found[b"a"].digest), (b"b", b"another"), (b"none", b"")]
    assert file.remove(seen, cancel) == [Removal.REMOVED, Removal.CHANGED, Removal.GONE]
    assert list(json.loads(path.read_text())) == ["b", "ключ", "version"]
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.read_text() for each in path.parent.glob("*.before-*")] == [TEXT]
    path.write_text(path.read_text().replace('"b": {}', '"b": {"new": 1}'))
    assert file.restore(dumped, cancel) == ["restored", "differs", "there", "there"]
    again = scanned(file, cancel)
    assert again[b"a"].digest == found[b"a"].digest
    assert again[b"b"].value == b'{"new": 1}'
    assert not list(path.parent.glob(".*"))


def test_as_a_sink_it_begins_with_no_file(tmp_path: Path, cancel: Cancel) -> None:
    path = tmp_path / "new.json"
    file = store(path, missing_ok=True)
    item = Item(b"session:a", "a", b'{"x": 1}', session_digest(b'{"x": 1}'), 8)
    assert file.check([item], cancel) == []
    assert file.read([item], cancel) == [None]
    for _ in range(2):
        assert file.write([item], cancel) == []
    assert path.read_text() == '{\n"a": {"x": 1}\n}\n'
    assert path.stat().st_mode & 0o777 == 0o600
    assert file.read([item], cancel) == [item.digest]
    assert file.remove([("a", "", item.digest)], cancel) == [Removal.REMOVED]
    assert path.read_text() == "{}\n"
    assert list(tmp_path.glob("*.before-*")) == []


def test_with_a_session_the_file_is_its_state(path: Path, cancel: Cancel) -> None:
    path.write_text('{"messages": ["hi"], "next": null}\n')
    with pytest.raises(ConfigError, match="one state") as error:
        store(path).describe(cancel)
    assert "--session" in error.value.info.next
    file = store(path, session="me")
    record = scanned(file, cancel)[b"me"]
    assert record.value == b'{"messages": ["hi"], "next": null}'
    other = Item(b"you", "you", b"{}", b"", 2)
    mine = Item(b"me", "me", b'{"messages": []}', session_digest(b'{"messages": []}'), 2)
    assert [each.key for each in file.write([other, mine], cancel)] == [b"you"]
    assert path.read_text() == '{"messages": []}\n'
    assert file.remove([(b"me", mine.digest)], cancel) == [Removal.REMOVED]
    assert path.read_text() == "{}\n"
    assert scanned(file, cancel) == {}
    assert file.restore([file.dump(record)], cancel) == ["restored"]
    assert scanned(file, cancel)[b"me"].digest == record.digest


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "{ is expected"),
        (b"[]", "{ is expected"),
        (b'{"a": {}', "is expected"),
        (b'{"a": {}} {"b": {}}', "nothing more is expected"),
        (b'{"a": {}, "a": {}}', "'a' is in it twice"),
        (b'{"a": {"x": NaN}}', "NaN is no JSON"),
        (b'{"a": {}, }', "Expecting value"),
        (b'{"a": {"\xff": 1}}', "not UTF-8"),
        (b'{"\\ud800": {}}', "half a character"),
        (b'{"a": {"x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}}", "nested too deeply"),
        (b'{"a": {"x": "' + b"y" * 2000 + b'"}}', "the limit is 1 kB"),
    ],
)
def test_a_file_that_is_no_such_thing_says_why(path: Path, cancel: Cancel, content: bytes, said: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        store(path, limit=1000 if "limit" in said else 10_000_000).describe(cancel)
    assert said in error.value.info.why


def test_no_file_no_source(tmp_path: Path, cancel: Cancel) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        store(tmp_path / "none.json").describe(cancel)


def test_what_somebody_else_writes_meanwhile_is_not_lost(path: Path, cancel: Cancel) -> None:
    file = store(path)
    found = scanned(file, cancel)
    writes = 0
    plain = file._text

    def text_while_others_write(after: dict[str, str]) -> str:
        nonlocal writes
        writes += 1
        if writes <= 2:
            path.write_text(path.read_text().replace("{", f'{{"new{writes}": {{}},', 1))
        return plain(after)

    file._text = text_while_others_write  # type: ignore[method-assign,assignment]
    assert file.remove([(b"a", found[b"a"].digest)], cancel) == [Removal.REMOVED]
    assert {"new1", "new2", "b"} <= set(json.loads(path.read_text()))
    assert "a" not in json.loads(path.read_text())


def test_one_that_never_rests_is_left_alone(path: Path, cancel: Cancel, monkeypatch: pytest.MonkeyPatch) -> None:
    file = store(path)
    found = scanned(file, cancel)
    monkeypatch.setattr("opsctl.stores.json_file._PAUSE", 0.0)
    monkeypatch.setattr(file, "_text", lambda after: os.utime(path, ns=(0, id(after))) or "{}")
    with pytest.raises(StepFailed, match="all the time"):
        file.remove([(b"a", found[b"a"].digest)], cancel)
    assert path.read_text() == TEXT


def test_sessions_there_and_back_are_the_same_bytes(path: Path, cancel: Cancel) -> None:
    records = [record for record in scanned(store(path), cancel).values() if not record.fault]
    there = SessionsToKeys("session:", 3600).apply(records, {}, cancel)
    keys = [
        Record(item.id.encode(), item.body.parts[0], item.digest, item.size, "string")
        for item in there
        if isinstance(item, Item)
    ]
    back = KeysToSessions("session:").apply(keys, {}, cancel)
    assert [(each.id, each.body) for each in back if isinstance(each, Item)] == [
        (record.key.decode(), record.value) for record in records
    ]


@pytest.mark.parametrize(
    ("value", "code"),
    [(b"no json", "unparsable"), (b"\xff", "unparsable"), (b"[]", "unparsable"), ({b"a": b"b"}, "wrong-type")],
)
def test_what_is_no_session_goes_to_quarantine(value: object, code: str, cancel: Cancel) -> None:
    (found,) = KeysToSessions("s:").apply([Record(b"s:1", value, b"", 1, "hash")], {}, cancel)
    assert isinstance(found, Rejected)
    assert found.code == code


def test_a_ttl_is_given_and_said() -> None:
    record = Record(b"a", b"{}", b"", 2)
    (item,) = SessionsToKeys("s:", None).apply([record], {}, Cancel(5))
    assert isinstance(item, Item) and isinstance(item.body, Held) and item.body.ends is None
    assert "GETEX" in str(SessionsToKeys("s:", 3600).describe())


def test_put_together_it_is_what_was_taken_apart() -> None:
    found = sessions(TEXT)
    assert sessions(together(found)) == found
    assert parsed(together({})) == {}
