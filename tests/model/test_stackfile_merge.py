"""The stack file and compose together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from opsctl.model.engine import ComposeService
from opsctl.model.errors import ConfigError, ErrorInfo
from opsctl.model.stack import Gate, Origin, Stack
from opsctl.model.stackfile import derive_phases, merge
from opsctl.model.stackfile_load import read_stack


def stack(text: str = "") -> Stack:
    return read_stack(f"version: 1\n{text}", Path("/x/opsctl.yaml"), environ={})


def service(name: str, *needs: str, profiles: tuple[str, ...] = (), **x: Any) -> ComposeService:
    depends = dict.fromkeys(needs, "service_healthy")
    return ComposeService(name, "image", False, depends, {}, (), 0, "", profiles, x)


def compose(*services: ComposeService) -> dict[str, ComposeService]:
    return {each.name: each for each in services}


STACK = compose(service("orch", "pg", "redis"), service("pg"), service("redis"), service("lang", "orch", "pg"))


def refused(text: str, of: dict[str, ComposeService]) -> ErrorInfo:
    with pytest.raises(ConfigError) as caught:
        merge(stack(text), of)
    return caught.value.info


def phases(merged: Stack) -> dict[str, int | None]:
    return {name: each.phase for name, each in merged.services.items()}


def test_without_phases_they_follow_what_depends_on_what() -> None:
    merged = merge(stack(), STACK)
    assert phases(merged) == {"pg": 1, "redis": 1, "orch": 2, "lang": 3}
    assert merged.origins["services.orch.phase"] == Origin("derived from depends_on")


def test_profiles_get_a_phase_only_where_another_service_needs_them() -> None:
    of = compose(service("debug", profiles=("debug",)), service("cache", profiles=("extra",)), service("web", "cache"))
    assert derive_phases(of) == {"cache": 1, "web": 2}


def test_one_given_phase_is_enough_to_leave_the_others_out() -> None:
    merged = merge(stack("services: {pg: {phase: 1}}"), STACK)
    assert phases(merged) == {"pg": 1, "redis": None, "orch": None, "lang": None}


def test_what_a_phase_needs_comes_with_it() -> None:
    merged = merge(stack("services: {lang: {phase: 4}, orch: {phase: 3}, pg: {phase: 1}}"), STACK)
    assert phases(merged) == {"pg": 1, "redis": 3, "orch": 3, "lang": 4}
    assert merged.origins["services.redis.phase"].source == "derived from depends_on"


def test_the_stack_file_wins_key_by_key() -> None:
    of = compose(service("pg", phase=2, memory="85MB", gate={"tcp": 5432}, then="schema apply"))
    merged = merge(stack("services: {pg: {phase: 1}}"), of)
    pg = merged.services["pg"]
    assert (pg.phase, pg.memory, pg.gate) == (1, 85_000_000, Gate(tcp=5432))
    assert pg.then[0].words == ("schema", "apply")
    assert merged.origins["services.pg.phase"] == Origin("opsctl.yaml", 2)
    assert merged.origins["services.pg.memory"] == Origin("docker-compose.yml (x-opsctl)")


def test_a_default_that_was_written_down_wins_too() -> None:
    merged = merge(stack("services: {pg: {optional: false}}"), compose(service("pg", optional=True)))
    assert merged.services["pg"].optional is False


def test_x_opsctl_is_checked_like_the_stack_file() -> None:
    info = refused("", compose(service("pg", fase=1, memory="85MB")))
    assert info.path == "docker-compose.yml"
    assert info.what.startswith("services.pg.x-opsctl.fase: ")
    assert 'did you mean "phase"' in info.what


def test_a_dependency_on_a_later_phase_names_both_lines() -> None:
    info = refused("services:\n  orch: {phase: 1}\n  pg: {phase: 2}\n  redis: {phase: 1}\n", STACK)
    assert (info.path, info.line) == ("/x/opsctl.yaml", 3)
    assert "orch is in phase 1 and depends on pg, which is in phase 2 (opsctl.yaml line 4)" in info.what
    info = refused("services:\n  orch: {phase: 1}", compose(service("orch", "pg"), service("pg", phase=3)))
    assert "phase 3 (docker-compose.yml (x-opsctl))" in info.what


def test_a_service_compose_does_not_have() -> None:
    info = refused("services:\n  orhc: {phase: 1}\n", STACK)
    assert info.line == 3
    assert 'did you mean "orch"' in info.what
    assert "lang, orch, pg, redis" in info.why


def test_redundant_may_name_what_is_gone_but_not_misspell_what_is_there() -> None:
    assert merge(stack("redundant: {loki: gone}"), STACK).redundant
    assert 'did you mean "redis"' in refused("redundant: {rediss: gone}", STACK).what


@pytest.mark.parametrize("text", ["", "services: {a: {phase: 1}}"])
def test_a_circle_is_named(text: str) -> None:
    info = refused(text, compose(service("a", "b"), service("b", "c"), service("c", "a")))
    assert "a → b → c → a" in info.what


def test_everything_that_does_not_fit_is_said_at_once() -> None:
    of = {**STACK, **compose(service("web", memory="x"))}
    info = refused("services: {orhc: {}, orch: {phase: 1}, redis: {phase: 2}, pg: {phase: 2}}", of)
    assert info.what == "4 problems in /x/opsctl.yaml and docker-compose.yml"
    assert "docker-compose.yml services.web.x-opsctl.memory" in info.why


def test_a_variable_that_compose_left_as_it_is_is_said_to_be_one() -> None:
    assert "a variable under x-opsctl" in refused("", compose(service("pg", phase="${PHASE:-1}"))).what


def test_without_compose_the_stack_stays_as_it_is() -> None:
    plain = stack("services: {pg: {phase: 1}}")
    assert merge(plain, {}) is plain


def test_merging_changes_neither_side() -> None:
    plain = stack("services: {pg: {phase: 1}}")
    origins = dict(plain.origins)
    merge(plain, STACK)
    assert dict(plain.origins) == origins
    assert list(plain.services) == ["pg"]


def test_two_hundred_services_in_a_chain_have_two_hundred_depths() -> None:
    chain = compose(*(service(f"s{n}", *([f"s{n - 1}"] if n else [])) for n in range(200)))
    assert derive_phases(chain)["s199"] == 200


def test_services_come_in_the_order_of_the_stack_file() -> None:
    merged = merge(stack("services: {redis: {phase: 1}, lang: {phase: 1}, pg: {phase: 1}, orch: {phase: 1}}"), STACK)
    assert list(merged.services) == ["redis", "lang", "pg", "orch"]
    assert list(merge(stack("services: {redis: {}}"), STACK).services) == ["redis", "orch", "pg", "lang"]
