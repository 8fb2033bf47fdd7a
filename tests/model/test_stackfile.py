"""The stack file: found, read whole, and with the droplets of -d."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from opsctl.model.errors import ConfigError, ExitCode, OpsError, UsageError
from opsctl.model.secret import Secret
from opsctl.model.stack import Gate, Origin, Redundant, Stack, Then
from opsctl.model.stackfile import load_stack
from opsctl.model.stackfile_load import read_stack

SAMPLE = """\
version: 1
requires: ">=0.1"
droplets:
  agents: {address: root@203.0.113.7, key: ~/.ssh/id_ed25519, compose: /opt/stack/docker-compose.yml, reserve: 200MB,
           docker: {sudo: auto, socket: auto}, provider: {digitalocean: 12345}, boot: replay}
services:
  postgres:     {phase: 1, memory: 85MB, gate: {tcp: 5432, sql: "SELECT 1", within: 60s}, then: [schema apply]}
  gateway-mcp:  {phase: 1, memory: 120MB, gate: {http: ":8000/health"}}
  orchestrator: {phase: 2, memory: 180MB, gate: {http: ":8001/health"}, proof: ["checkpointer initialized"]}
  code-review:  {phase: 3, memory: 90MB, one_by_one: true, optional: true}
redundant: {prometheus: "Grafana Cloud receives the same", since: 2026-01-10}
stores: {checkpoints: {postgres: "${DATABASE_URL}"}, memory: {redis: "${DRAGONFLY_URL}"}}
alerts: {webhook: "${ALERT_URL}", ping: "${DEADMAN_URL}"}
"""


def read(text: str, **environ: str) -> Stack:
    return read_stack(text, Path("/srv/stack/opsctl.yaml"), environ=environ)


def test_the_sample_is_read_as_it_is_meant() -> None:
    stack = read(SAMPLE)
    agents = stack.droplets["agents"]
    assert (agents.address, agents.reserve, agents.sudo, agents.socket) == (
        "root@203.0.113.7",
        200_000_000,
        "auto",
        None,
    )
    assert agents.key == str(Path("~/.ssh/id_ed25519").expanduser())
    assert agents.compose == ("/opt/stack/docker-compose.yml",)
    assert (agents.provider, agents.boot) == ({"digitalocean": 12345}, "replay")
    postgres = stack.services["postgres"]
    assert (postgres.phase, postgres.memory) == (1, 85_000_000)
    assert postgres.gate == Gate(tcp=5432, sql="SELECT 1", within=60.0)
    assert postgres.then == (Then("opsctl", ("schema", "apply")),)
    assert stack.services["code-review"].one_by_one
    assert stack.services["code-review"].optional
    assert stack.redundant == {"prometheus": Redundant("Grafana Cloud receives the same", "2026-01-10")}


def test_every_value_knows_its_line() -> None:
    origins = read(SAMPLE).origins
    assert origins["droplets.agents.address"] == Origin("opsctl.yaml", 4)
    assert origins["droplets.agents.docker.sudo"] == Origin("opsctl.yaml", 5)
    assert origins["services.orchestrator.proof[0]"] == Origin("opsctl.yaml", 9)
    assert "services.postgres.optional" not in origins


@pytest.mark.parametrize(
    ("text", "then"),
    [
        ("schema apply", Then("opsctl", ("schema", "apply"))),
        ("opsctl schema apply", Then("opsctl", ("schema", "apply"))),
        ("{opsctl: schema apply --yes}", Then("opsctl", ("schema", "apply", "--yes"))),
        ("{command: [redis-cli, PING]}", Then("command", ("redis-cli", "PING"))),
        ("{command: 'redis-cli ping | grep PONG'}", Then("command", ("/bin/sh", "-c", "redis-cli ping | grep PONG"))),
        ("{sql: /opt/x.sql, within: 2m}", Then("sql", ("/opt/x.sql",), 120.0)),
        (
            "{sql: 'container:/docker-entrypoint-initdb.d/x.sql'}",
            Then("sql", ("container:/docker-entrypoint-initdb.d/x.sql",)),
        ),
    ],
)
def test_steps_after_a_gate(text: str, then: Then) -> None:
    assert read(f"version: 1\nservices: {{a: {{then: [{text}]}}}}").services["a"].then == (then,)


def test_an_sql_step_finds_its_file_beside_the_stack_file(tmp_path: Path) -> None:
    (tmp_path / "tables.sql").write_text("SELECT 1;")
    text = "version: 1\nservices: {a: {then: {sql: tables.sql}}}"
    assert read_stack(text, tmp_path / "opsctl.yaml", environ={}).services["a"].then == (Then("sql", ("tables.sql",)),)
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert caught.value.info.what.startswith("services.a.then[0].sql: no file")


def test_extensions_are_left_alone_everywhere() -> None:
    text = (
        "x-a: ${NOT_A_VARIABLE}\nversion: 1\nservices: {a: {x-note: [1], gate: {x-why: b, tcp: 1}}}\nalerts: {x-b: 1}"
    )
    assert read(text).services["a"].gate.tcp == 1


def test_anchors_and_merge_keys_work_and_keep_their_lines() -> None:
    text = (
        "version: 1\nx-web: &web\n  memory: 90MB\n  phase: 3\nservices:\n  a:\n    <<: *web\n    phase: 2\n  b: *web\n"
    )
    stack = read(text)
    assert (stack.services["a"].phase, stack.services["a"].memory) == (2, 90_000_000)
    assert stack.services["b"].phase == 3
    assert stack.origins["services.a.memory"].line == 3
    assert stack.origins["services.a.phase"].line == 8


def test_key_files_are_looked_for_from_the_stack_file(tmp_path: Path) -> None:
    text = "version: 1\ndroplets: {a: {address: a@b, key: keys/id, known_hosts: /etc/hosts.known}}"
    droplet = read_stack(text, tmp_path / "opsctl.yaml", environ={}).droplets["a"]
    assert droplet.key == str(tmp_path / "keys/id")
    assert droplet.known_hosts == "/etc/hosts.known"


def test_a_key_with_nothing_behind_it_is_as_if_left_out() -> None:
    services = "services:\n  a:\n  b: {phase: 1, memory: , gate: , then: , proof: }\n"
    stack = read(f"version: 1\nrequires:\ndroplets:\n{services}alerts:\n")
    assert stack.services["b"].gate == Gate()
    assert stack.services["a"].phase is None
    with pytest.raises(ConfigError, match=r"droplets\.a\.address: missing"):
        read("version: 1\ndroplets: {a: {address: }}")
    with pytest.raises(ConfigError, match=r"droplets\.a: nothing"):
        read("version: 1\ndroplets: {a: }")


# ---- look-up


def test_the_option_wins_over_the_variable_and_that_over_the_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(f"version: 1\ndroplets: {{{name}: {{address: a@b}}}}")
    (tmp_path / "opsctl.yaml").write_text("version: 1\ndroplets: {here: {address: a@b}}")
    environ = {"OPSCTL_STACK": str(tmp_path / "two.yaml")}
    assert list(load_stack(tmp_path / "one.yaml", environ=environ, cwd=tmp_path).droplets) == ["one"]
    assert list(load_stack(environ=environ, cwd=tmp_path).droplets) == ["two"]
    found = load_stack(environ={}, cwd=tmp_path)
    assert list(found.droplets) == ["here"]
    assert found.path == str(tmp_path / "opsctl.yaml")


def test_a_named_file_that_is_missing_is_an_error_even_where_another_is(tmp_path: Path) -> None:
    (tmp_path / "opsctl.yaml").write_text("version: 1")
    with pytest.raises(ConfigError, match="no stack file"):
        load_stack("nowhere.yaml", environ={}, cwd=tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_stack(environ={"OPSCTL_STACK": "gone.yaml"}, cwd=tmp_path)
    assert "$OPSCTL_STACK" in caught.value.info.why


def test_without_a_file_an_address_is_the_whole_stack(tmp_path: Path) -> None:
    stack = load_stack(droplets=["deploy@203.0.113.7:2222"], environ={}, cwd=tmp_path)
    assert stack.path is None
    assert stack.droplets["deploy@203.0.113.7:2222"].address == "deploy@203.0.113.7:2222"
    assert (
        load_stack(droplets=["an-ssh-alias"], environ={}, cwd=tmp_path).droplets["an-ssh-alias"].address
        == "an-ssh-alias"
    )


def test_without_a_file_and_without_an_address_there_is_nothing_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_stack(environ={}, cwd=tmp_path)
    assert caught.value.exit_code is ExitCode.CONFIG
    assert "opsctl init" in caught.value.info.next


def test_a_droplet_nobody_has_is_a_usage_error_with_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "opsctl.yaml"
    path.write_text(SAMPLE)
    with pytest.raises(UsageError, match='did you mean "agents"') as caught:
        load_stack(path, droplets=["agnets"], environ={})
    assert caught.value.exit_code is ExitCode.USAGE
    assert load_stack(path, droplets=["root@203.0.113.7"], environ={}).droplets["root@203.0.113.7"].name == "agents"
    assert "a@b" in load_stack(path, droplets=["a@b"], environ={}).droplets
    assert list(load_stack(path, droplets=["all"], environ={}).droplets) == ["agents"]


@pytest.mark.parametrize("name", ["-oProxyCommand=touch /tmp/x", "a b", ""])
def test_an_address_that_ssh_would_misread_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        load_stack(droplets=[name], environ={}, cwd=tmp_path)
    with pytest.raises(ConfigError):
        read(f"version: 1\ndroplets: {{a: {{address: {name!r}}}}}")


# ---- secrets


def test_stores_resolve_only_when_one_is_asked_for() -> None:
    learned: list[Secret] = []
    stack = read_stack(
        SAMPLE, Path("/x/opsctl.yaml"), environ={"DATABASE_URL": "postgres://u:hunter2@h/d"}, learn=learned.append
    )
    assert list(stack.stores["checkpoints"]) == ["postgres"]
    assert "redis" in stack.stores["memory"]
    assert learned == []
    assert stack.stores["checkpoints"]["postgres"].reveal() == "postgres://u:hunter2@h/d"
    assert learned == [Secret("postgres://u:hunter2@h/d")]
    assert "hunter2" not in repr(stack)
    with pytest.raises(ConfigError) as caught:
        _ = stack.stores["memory"]["redis"]
    assert caught.value.info.what.startswith("stores.memory.redis: ")
    assert caught.value.info.line == 12


def test_a_command_in_stores_does_not_run_until_it_is_needed(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    text = f"version: 1\nstores: {{a: {{redis: '${{cmd:echo x >> {mark}; echo redis://h}}'}}}}"
    stack = read_stack(text, tmp_path / "opsctl.yaml", environ={"PATH": "/usr/bin:/bin"})
    assert not mark.exists()
    assert stack.stores["a"]["redis"].reveal() == stack.stores["a"]["redis"].reveal() == "redis://h"
    assert mark.read_text() == "x\n"


# ---- whatever is in the file, the answer is a stack or an error that a person can act on


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_file_never_surprises(seed: int) -> None:
    dice = random.Random(seed)
    text = SAMPLE
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(text))
        junk = dice.choice(
            ["", "\t", "{", "}", ":", "- ", "*x", "&x ", "\0", "\u2028", "${", "!!python/none ", "[", "'", "é", "\n"]
        )
        text = text[:at] + junk + text[at + dice.randint(0, 12) :]
    try:
        read(text, DATABASE_URL="x")
    except OpsError as error:
        assert error.exit_code is ExitCode.CONFIG
        assert error.info.what
        assert error.info.next


def test_aliases_that_grow_without_bound_are_refused() -> None:
    lines = ["version: 1", "x-a: &a0 [1,2,3,4,5,6,7,8,9]"]
    lines += [f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    with pytest.raises(ConfigError, match="more than"):
        read("\n".join(lines))


def test_an_alias_that_contains_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match="contains itself"):
        read("version: 1\nx-a: &a\n  b: *a\n")


def test_a_file_that_is_nested_beyond_reason_is_refused() -> None:
    with pytest.raises(ConfigError, match="nested too deeply"):
        read("version: 1\nx-a: " + "[" * 3_000)
