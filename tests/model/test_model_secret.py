"""Secrets don't show, whatever is done with them; the redactor catches what the type missed."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import random
import string
import traceback
from dataclasses import dataclass

import pytest

from opsctl.model.jsonable import to_jsonable
from opsctl.model.secret import Redactor, Secret

PLAIN = "correct-horse-battery"
SECRET = Secret(PLAIN)


@dataclass(frozen=True)
class Holder:
    name: str
    secret: Secret


@pytest.mark.parametrize(
    "text",
    [
        str(SECRET), repr(SECRET), f"{SECRET}", f"{SECRET!r:>40}", f"{SECRET:>40}", "%s" % SECRET, "%r" % (SECRET,),  # noqa: UP031
        "{0} {0!r}".format(SECRET), str([SECRET]), str({"a": SECRET}), repr(Holder("a", SECRET)), repr({SECRET}),  # noqa: UP032
        json.dumps(to_jsonable(Holder("a", SECRET))), str(Exception(SECRET)),
        logging.makeLogRecord({"msg": SECRET}).getMessage(),
    ],
)  # fmt: skip
def test_a_secret_never_shows_itself(text: str) -> None:
    assert PLAIN not in text


def test_json_refuses_it_where_nobody_masks() -> None:
    with pytest.raises(TypeError):
        json.dumps({"a": SECRET})


def test_a_traceback_with_it_stays_clean() -> None:
    try:
        raise ValueError(f"could not use {SECRET}")
    except ValueError:
        assert PLAIN not in traceback.format_exc()


def test_equality_hash_and_truth_are_the_values() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret("")
    assert copy.deepcopy(SECRET).reveal() == pickle.loads(pickle.dumps(SECRET)).reveal() == PLAIN


@pytest.mark.parametrize(
    "text",
    [
        "postgres://user:hunter2@host:5432/db",
        "rediss://:hunter2@host/0",
        "error at https://x:hunter2@h/p?x=1 and more",
        "POSTGRES_PASSWORD=hunter2",
        'export API_KEY="hunter2"',
        "token: hunter2",
        "AWS_SECRET_ACCESS_KEY = hunter2, next",
        "{'db_password': 'hunter2'}",
        '{"apiKey": "hunter2"}',
        "Authorization: Bearer hunter2hunter2",
        '{"Authorization": "Basic aHVudGVyMjpodW50ZXIy-hunter2"}',
        "curl -H 'Bearer hunter2-hunter2-hunter2'",
        'PASSWORD="two words, hunter2"',
        "PASSWORD='open hunter2",
        "postgres://user:p@hunter2@host/db",
        "key sk-hunter2hunter2hunter2 used",
    ],
)
def test_what_looks_like_a_credential_is_masked(text: str) -> None:
    assert "hunter2" not in Redactor()(text)


@pytest.mark.parametrize(
    "text",
    [
        "postgres is healthy",
        "http://host:8000/health",
        "user@host:/path",
        "12:30:45 ok",
        "a key: value pair in a sentence",
        "max_tokens=4096, tokens: 512",
        "basic functionality works",
        "http://a:8000/x mail a@b",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert Redactor()(text) == text


@pytest.mark.parametrize("seed", range(30))
def test_a_learned_secret_is_masked_wherever_it_stands(seed: int) -> None:
    dice = random.Random(seed)
    plain = "".join(dice.choices(string.printable.strip() + "äß", k=dice.randint(4, 40)))
    redact = Redactor()
    redact.learn(Secret(plain), "abc")
    around = "".join(dice.choices(string.ascii_letters + " \n", k=20))
    assert plain not in redact(f"{around}{plain}{plain}{around}")


def test_the_longer_secret_is_masked_whole() -> None:
    redact = Redactor()
    redact.learn("hunter2", "hunter2-and-more")
    assert redact("x hunter2-and-more y") == "x ••• y"


def test_short_values_are_not_learned() -> None:
    redact = Redactor()
    redact.learn("on", Secret("dev"))
    assert redact("turned on in dev") == "turned on in dev"
