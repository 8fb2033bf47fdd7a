"""Errors in a stack file: path, line, what was expected, and the nearest valid word."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsctl.model.errors import ConfigError
from opsctl.model.stackfile_load import read_stack


def error(text: str, **environ: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read_stack(text, Path("/srv/stack/opsctl.yaml"), environ=environ)
    return caught.value


V = "version: 1\n"
CASES = [
    # text, path, line, what is in `what`, what is in `why`
    ("services: {}\n", "version", 1, "missing", "version of this format"),
    ("version: 2\n", "version", 1, "2 is not known", "expected 1"),
    (V + "service: {}\n", "service", 2, 'did you mean "services"', "one of version"),
    (V + "services:\n  pg:\n    fase: 1\n", "services.pg.fase", 4, 'did you mean "phase"', "one of phase, memory"),
    (V + "services:\n  pg: {phase: 0}\n", "services.pg.phase", 3, "0 is out of range", "1 or more"),
    (V + "services:\n  pg: {phase: true}\n", "services.pg.phase", 3, "true is not a whole number", ""),
    (V + "services:\n  pg: {phase: early}\n", "services.pg.phase", 3, "'early'", "whole number"),
    (V + "services:\n  pg: {memory: 85XB}\n", "services.pg.memory", 3, "'85XB' is not a size", "270MB"),
    (V + "services:\n  pg: {memory: 85}\n", "services.pg.memory", 3, "85 bytes", "270MB"),
    (V + "services:\n  pg: {memory: -85MB}\n", "services.pg.memory", 3, "is not a size", "270MB"),
    (V + "services:\n  pg: {gate: {within: soon}}\n", "services.pg.gate.within", 3, "not a duration", "30s"),
    (V + "services:\n  pg: {gate: {within: 0s}}\n", "services.pg.gate.within", 3, "between 0 and a day", "30s"),
    (
        V + "services:\n  pg: {gate: {http: 'http://x/'}}\n",
        "services.pg.gate.http",
        3,
        "is not what to ask",
        ":8000/health",
    ),
    (V + "services:\n  pg: {gate: {tcp: 70000}}\n", "services.pg.gate.tcp", 3, "out of range", "65535 or less"),
    (V + "services:\n  pg: {gate: {status: 200}}\n", "services.pg.gate", 3, "`status` without `http`", "http:"),
    (V + "services:\n  pg: {gate: {tpc: 5432}}\n", "services.pg.gate.tpc", 3, 'did you mean "tcp"', ""),
    (V + "services:\n  pg: {gate: fast}\n", "services.pg.gate", 3, "'fast'", "a mapping"),
    (
        V + "services:\n  pg:\n    then:\n    - {command: a, sql: /b}\n",
        "services.pg.then[0]",
        5,
        "command and sql",
        "exactly one",
    ),
    (V + "services:\n  pg:\n    then: [{within: 3s}]\n", "services.pg.then[0]", 4, "none of them", "exactly one"),
    (V + 'services:\n  pg:\n    then: ["it\'s"]\n', "services.pg.then[0].opsctl", 4, "cannot be split", ""),
    (V + "services:\n  pg: {optional: maybe}\n", "services.pg.optional", 3, "'maybe'", "true or false"),
    (V + "services: [pg]\n", "services", 2, "a list", "names with"),
    (V + "services:\n  'a b': {}\n", "services.a b", 3, "is not a name", ""),
    (V + "droplets:\n  a: {}\n", "droplets.a.address", 3, "missing", "user@host"),
    (V + "droplets:\n  a: {address: a@b, boot: reply}\n", "droplets.a.boot", 3, 'did you mean "replay"', "one of"),
    (V + "droplets:\n  a: {address: a@b, compose: x.yml}\n", "droplets.a.compose[0]", 3, "droplet's root", ""),
    (
        V + "droplets:\n  a: {address: a@b, docker: {sodu: auto}}\n",
        "droplets.a.docker.sodu",
        3,
        'did you mean "sudo"',
        "",
    ),
    (V + "droplets:\n  all: {address: a@b}\n", "droplets.all", 3, "every droplet", "another name"),
    (V + "redundant: {a: why, since: yesterday}\n", "redundant.a.since", 2, "not a day", "2026-01-10"),
    (V + "redundant: {a: {since: 2026-01-10}}\n", "redundant.a.reason", 2, "missing", "replaces"),
    (V + "stores: {a: {postgress: x}}\n", "stores.a.postgress", 2, 'did you mean "postgres"', ""),
    (V + "stores: {a: {postgres: x, redis: y}}\n", "stores.a", 2, "not one kind", "exactly one"),
    (V + "stores: {a: {redis: x, grpc_port: 1}}\n", "stores.a", 2, "`grpc_port` means nothing here", "weaviate"),
    (V + "stores: {a: {weaviate: x, grpc_port: 70000}}\n", "stores.a.grpc_port", 2, "out of range", "65535"),
    (V + "stores: {a: {json: x, plaintext: true}}\n", "stores.a", 2, "mean nothing for a file", "a URL"),
    (V + "stores: {a: {redis: x, plaintext: maybe}}\n", "stores.a.plaintext", 2, "'maybe'", "true or false"),
    (
        V + "droplets: {app: {address: a@b}}\nstores: {a: {redis: x, via: ap}}\n",
        "stores.a.via",
        3,
        'did you mean "app"',
        "one of app",
    ),
    (V + "stores: {a: {redis: '${OOPS'}}\n", "stores.a.redis", 2, "never closed", "$$"),
    (V + "alerts: {webhok: x}\n", "alerts.webhok", 2, 'did you mean "webhook"', ""),
    (V + "requires: '>=9'\nnew_key: 1\n", "requires", 2, "this is opsctl", ">=9"),
    (V + "requires: new\n", "requires", 2, "not a version", ">=0.1"),
    (V + "env_file: gone.env\n", "env_file[0]", 2, "cannot be read", "beside"),
    (V + "droplets:\n  a: {address: '${HOST}'}\n", "droplets.a.address", 3, "HOST is not set", "${HOST:-default}"),
    (V + "droplets:\n  a: {address: '${HOST:?which host}'}\n", "droplets.a.address", 3, "which host", ""),
    (V + "droplets:\n  a: {address: '${1HOST}'}\n", "droplets.a.address", 3, "cannot be read", "${NAME}"),
    (
        V + "services:\n  a: {phase: 1}\n  b: {}\n  a: {phase: 2}\n",
        "services.a",
        5,
        "given twice (first on line 3)",
        "",
    ),
    (V + "services:\n  a: !secret x\n", "services.a", 3, "tag !secret", ""),
    ("", None, None, "empty", "version: 1"),
    ("- a\n", None, 1, "not a mapping", "version: 1"),
    ("a: [1, 2\nb: 3\n", None, 2, "column 2", ""),
    ("a:\n\tb: 1\n", None, 2, "a tab", ""),
    ("version: 1\n---\nversion: 1\n", None, 2, "second document", ""),
]


@pytest.mark.parametrize(
    ("text", "path", "line", "what", "why"), CASES, ids=[str(c[3])[:30] + "/" + str(c[1]) for c in CASES]
)
def test_one_problem(text: str, path: str | None, line: int | None, what: str, why: str) -> None:
    info = error(text).info
    assert info.path == "/srv/stack/opsctl.yaml"
    assert info.line == line
    assert path is None or info.what.startswith(f"{path}: ")
    assert what in info.what
    assert why in info.why
    assert info.next
    assert "\n" not in info.what


def test_all_problems_are_shown_together_in_the_order_of_the_file() -> None:
    text = (
        "version: 1\nservices:\n  a:\n    memory: lots\n    fase: 2\n  b: {then: [{sql: gone.sql}]}\n"
        "stores: {s: {redis: '${'}}\n"
    )
    info = error(text).info
    assert info.what == "3 problems in /srv/stack/opsctl.yaml"
    assert [line.split(":")[0] for line in info.why.splitlines()] == ["line 4", "line 5", "line 7"]
    assert (info.path, info.line) == ("/srv/stack/opsctl.yaml", 4)


def test_a_variable_that_is_missing_is_said_once() -> None:
    assert "problems" not in error("version: 1\nservices: {a: {phase: '${PHASE}'}}").info.what


def test_a_password_on_a_broken_line_is_not_shown() -> None:
    info = error("version: 1\nstores: {a: {postgres: postgres://u:hunter2@h/d}\nx: ]").info
    assert "hunter2" not in info.what + info.why
    info = error("version: 1\nDB_PASSWORD: hunter2: x").info
    assert "hunter2" not in info.what + info.why


def test_a_compose_file_is_recognised() -> None:
    info = error("services:\n  web:\n    image: caddy\n").info
    assert "this is a compose file" in info.what
    assert info.next.startswith("opsctl init")


def test_a_file_that_is_no_text_is_said_to_be_so(tmp_path: Path) -> None:
    from opsctl.model.stackfile import load_stack

    (tmp_path / "opsctl.yaml").write_bytes(b"version: 1\nx: \xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_stack(environ={}, cwd=tmp_path)
