"""A playbook is checked whole before its first step: what is wrong is told with its line and what was meant."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from opsctl.jobs.playbook import given
from opsctl.jobs.playbook_jobs import JOBS, SPECS
from opsctl.model.errors import ConfigError, UsageError
from opsctl.model.playbook import Late, Playbook
from opsctl.model.playbook_format import json_schema
from opsctl.model.playbook_read import read_playbook
from opsctl.model.playbook_run import Past
from opsctl.model.playbook_values import Hidden

ROOT = Path(__file__).parent.parent.parent
SHIPPED = sorted((ROOT / "playbooks").glob("*.yaml"))
HEAD = "version: 1\ntitle: T\n"


def read(steps: str, *, head: str = HEAD, values: dict[str, object] | None = None) -> Playbook:
    """A playbook with these steps, which begin on line 4."""
    return read_playbook(f"{head}steps:\n{steps}", name="t", file="t.yaml", jobs=SPECS, values=values)


def wrong(steps: str, *, head: str = HEAD) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(steps, head=head)
    return caught.value


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_is_shipped_is_right_and_fits_the_schema(path: Path) -> None:
    book = read_playbook(path.read_text(), name=path.stem, file=path.name, jobs=SPECS)
    assert book.title
    assert book.about
    jsonschema.validate(json.loads(json.dumps(YAML(typ="safe").load(path))), json_schema(SPECS))


def test_the_schema_in_the_docs_is_that_of_the_code() -> None:
    assert json.loads((ROOT / "docs" / "schema" / "playbook.json").read_text()) == json_schema(SPECS)


def test_every_job_can_be_undone_by_name_only_where_it_changes_something() -> None:
    previews = {"preview dragonfly-to-weaviate", "preview qdrant-to-cloud"}
    looking = {name for name, job in JOBS.items() if not job.spec.changes}
    assert looking == {"why", "validate", "memory report", *previews}


@pytest.mark.parametrize(
    ("steps", "line", "says"),
    [
        ("  - {id: a, job: {startp: {}}}\n", 4, 'there is no job startp (did you mean "startup"?)'),
        ("  - id: a\n    job: {startup: {phse: 1}}\n", 5, 'has no parameter phse (did you mean "phase"?)'),
        ("  - id: a\n    job:\n      startup:\n        phase: two\n", 7, "'two' is not a whole number"),
        ("  - id: a\n    job: {startup: {phase: 0}}\n", 5, "0 is too small"),
        ("  - id: a\n    job: {stop: {}}\n", 5, "job stop wants services"),
        ("  - id: a\n    job: {recover: {up_to: moon}}\n", 5, "'moon' is not known"),
        ("  - {id: a, job: startup, colour: red}\n", 4, "unknown key"),
        ("  - {id: a}\n", 4, "step a does nothing"),
        ("  - {id: a, job: startup}\n  - {id: a, job: startup}\n", 5, "given twice (first on line 4)"),
        ("  - {id: a, job: startup, needs: a}\n", 4, "step a needs itself"),
        ("  - {id: a, job: startup, needs: b}\n", 4, "there is no step b"),
        ("  - {id: a, job: startup, needs: b}\n  - {id: b, job: startup}\n", 4, "a circle: a → b → a"),
        ('  - {id: a, job: {startup: {only: "${nix}"}}}\n', 4, "the variable nix is not declared"),
        ("  - {id: a, approve: ok?, undo: {job: startup}}\n", 4, "an undo of nothing"),
        ("  - {id: a, job: startup, undo: {probe: {oom: none}}}\n", 4, "an undo has no job"),
        ("  - {id: a, job: startup, undo: {job: why}}\n", 4, "why only reads: it takes nothing back"),
        ('  - {id: a, job: {stop: {services: "${started}"}}}\n', 4, "known only when a step is undone"),
        ('  - {id: a, probe: {htp: ":80/"}}\n', 4, "not a check that is known"),
        ("  - {id: a, probe: {job: startup}}\n", 4, "startup changes something: it is no check"),
        ("  - {id: a, probe: {oom: none}, otherwise: skip}\n", 4, "there is no precondition"),
        ("  - {id: a, approve: ok?, job: startup}\n", 4, "not both"),
        ("  - {id: a, job: startup, always: perhaps}\n", 4, "'perhaps' is not allowed"),
        ("  - {id: A b, job: startup}\n", 4, "a step wants an id"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(steps: str, line: int, says: str) -> None:
    info = wrong(steps).info
    assert says in f"{info.what}\n{info.why}"
    assert (info.path, info.line) == ("t.yaml", line)
    assert info.next.endswith("opsctl playbook show t")


def test_everything_that_is_wrong_is_told_at_once() -> None:
    info = wrong("  - {id: a, job: nix}\n  - {id: b, probe: {htp: 1}}\n", head="version: 2\n").info
    assert info.what == "4 problems in t.yaml"
    assert [line.split(":")[0] for line in info.why.splitlines()] == ["line 1", "line 1", "line 3", "line 4"]


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("{type: strin}", "the type strin is not known"),
        ("{type: secret, env: T, default: abc}", "a secret has no default"),
        ("{type: secret}", "a secret wants the name of a variable"),
        ("{type: whole, default: x}", "'x' is not a whole number"),
        ("{type: text, env: T}", "only a secret is read from the environment"),
        ("{type: text, default: c, choices: [a, b]}", "'c' is not known"),
    ],
)
def test_a_variable_that_is_wrong_is_told(entry: str, says: str) -> None:
    head = f"{HEAD}vars:\n  v: {entry}\n"
    info = wrong("  - {id: a, job: startup}\n", head=head).info
    assert says in f"{info.what}\n{info.why}"
    assert info.line == 4


def test_a_secret_goes_nowhere_where_it_could_be_seen() -> None:
    head = f"{HEAD}vars: {{key: {{type: secret, env: KEY}}}}\n"
    assert (
        "a secret may not stand here" in wrong('  - {id: a, job: {startup: {only: "${key}"}}}\n', head=head).info.what
    )
    inside = wrong('  - {id: a, probe: {http: ":1/", contains: "a ${key}"}}\n', head=head).info
    assert "part of a longer text" in inside.what
    book = read('  - {id: a, probe: {http: ":1/", bearer: "${key}"}}\n', head=head)
    assert book.steps[0].probe[0].values["bearer"] == Hidden("KEY")
    assert book.values == {}, "what is kept of a run has no trace of it"


def test_variables_keep_their_kind_and_lists_are_spread() -> None:
    head = f"{HEAD}vars:\n  n: {{type: whole, default: 3}}\n  s: {{type: services, default: [a, b]}}\n"
    steps = '  - {id: x, title: t, job: {startup: {phase: "${n}", skip: ["${s}", c]}}}\n'
    steps += '  - {id: y, approve: "${n}: ${s}$$?"}\n'
    first, second = read(steps, head=head, values={"n": 2}).steps
    assert first.call is not None
    assert first.call.arguments == {"phase": 2, "skip": ("a", "b", "c")}
    assert second.approve == "2: a, b$?"
    assert second.needs == ("x",), "without `needs` it is the step before"


def test_what_a_step_started_is_known_when_it_is_undone() -> None:
    book = read('  - {id: a, job: startup, undo: {job: {stop: {services: "${started}"}}}}\n')
    assert book.steps[0].undo is not None
    assert book.steps[0].undo.call.arguments == {"services": Late("started")}


def test_values_of_the_command_line_are_typed_and_told_apart() -> None:
    head = f"{HEAD}vars:\n  n: {{type: whole}}\n  d: {{type: duration, default: 5s}}\n  k: {{type: secret, env: KEY}}\n"
    book = read("  - {id: a, job: startup}\n", head=head)
    assert given(book.variables, ["n=4", "d=2m"], "t") == {"n": 4, "d": 120.0}
    for words, says in [
        ([], "wants n"),
        (["n"], "no value"),
        (["n=x"], "is not a whole number"),
        (["n=1", "m=2"], "no variable m"),
        (["n=1", "k=abc"], "a secret is not given as an argument"),
    ]:
        with pytest.raises(UsageError, match=says):
            given(book.variables, words, "t")


def line(event: str, step: str = "", **more: object) -> dict[str, object]:
    return {"event": event, "step": step, **more}


def test_a_step_that_was_cut_short_is_taken_back_too() -> None:
    past = Past.of([line("begin", "a", running=["x"]), line("begin", "b", running=["x", "y"])])
    assert past.candidates == ["b", "a"]
    assert past.moved("b", ["x", "y", "z"])["started"] == ("z",)


def test_a_step_that_was_done_by_an_earlier_part_of_the_run_counts_as_done_by_it() -> None:
    killed = [line("begin", "a", running=[])]
    assert Past.of([*killed, line("end", "a", outcome="unchanged", probed=True)]).candidates == ["a"]
    assert Past.of([*killed, *killed, line("end", "a", outcome="unchanged")]).candidates == ["a"]


def test_what_changed_nothing_or_is_taken_back_is_left_alone() -> None:
    unchanged = [line("begin", "a"), line("end", "a", outcome="unchanged")]
    assert Past.of(unchanged).candidates == []
    assert Past.of([line("end", "a", outcome="unchanged", probed=True)]).candidates == []
    undone = [line("begin", "a"), line("end", "a", outcome="changed"), line("undo-end", "a", outcome="changed")]
    assert Past.of(undone).candidates == []


def test_what_others_started_after_a_step_is_not_taken_for_its_own() -> None:
    past = Past.of([line("begin", "a", running=["x"]), line("end", "a", outcome="changed", running=["x", "y"])])
    assert past.moved("a", ["x", "y", "z"]) == {"started": ("y",), "stopped": ()}
    assert past.moved("a", ["x", "z"])["started"] == ()
    assert past.moved("a", ["x", "y"], gone={"y"})["started"] == ()


def test_the_example_in_the_docs_is_right() -> None:
    page = (ROOT / "docs" / "playbooks.md").read_text()
    example = page.split("```yaml\n")[1].split("```")[0]
    book = read_playbook(example, name="docs", file="playbooks.md", jobs=SPECS)
    assert [step.id for step in book.steps] == ["settled", "agree", "stop", "start", "answers"]
    assert all(f"`{each}`" in page or f"{each}," in page or f"{each}." in page for each in SPECS)
