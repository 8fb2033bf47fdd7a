"""The reference and the JSON Schema say what the models say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from opsctl.model import stackfile_schema
from opsctl.model.engine import ComposeService
from opsctl.model.stackfile import merge
from opsctl.model.stackfile_jsonschema import json_schema
from opsctl.model.stackfile_load import read_stack
from opsctl.model.stackfile_yaml import read_yaml

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGE = (DOCS / "stack-file.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
ENTRIES = [
    each
    for each in vars(stackfile_schema).values()
    if isinstance(each, type) and issubclass(each, stackfile_schema.Entry) and each is not stackfile_schema.Entry
]


def test_the_example_can_be_tried_as_it_stands(tmp_path: Path, opsctl: Any) -> None:
    (tmp_path / "example.yaml").write_text(BLOCKS[0])  # and nothing else beside it
    shown = opsctl.json("config", "show", "--offline", "--stack", str(tmp_path / "example.yaml"))
    assert shown["exit_code"] == 0
    values = {each["path"]: each["value"] for each in shown["droplets"][0]["result"]["values"]}
    assert values["services.postgres.memory"] == 85_000_000
    assert values["services.code-review.one_by_one"] is True


def test_a_step_of_the_example_names_a_command_that_there_is() -> None:
    steps = read_stack(BLOCKS[0], Path("/x/opsctl.yaml"), environ={}).services["postgres"].then
    (words,) = (step.words for step in steps if step.kind == "opsctl")
    assert f"\n### `opsctl {' '.join(words)}`\n" in (DOCS / "cli.md").read_text()


def test_the_example_is_a_stack(tmp_path: Path) -> None:
    environ = {"DATABASE_URL": "postgres://localhost/x"}
    stack = read_stack(BLOCKS[0], tmp_path / "opsctl.yaml", environ=environ)
    assert set(stack.services) == {"postgres", "gateway-mcp", "orchestrator", "code-review"}
    assert stack.stores["checkpoints"]["postgres"].reveal() == "postgres://localhost/x"
    assert stack.stores["memory"]["redis"].reveal() == "redis://localhost:6379"


def test_the_compose_example_is_read_too() -> None:
    example = next(each for each in BLOCKS if "x-opsctl" in each)
    given = read_yaml(example, "docker-compose.yml").data["services"]["postgres"]["x-opsctl"]
    service = ComposeService("postgres", "x", False, {}, {}, (), 0, "", (), given)
    merged = merge(read_stack("version: 1", Path("/x/opsctl.yaml"), environ={}), {"postgres": service})
    assert merged.services["postgres"].memory == 85_000_000


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.__name__)
def test_every_key_is_in_the_reference(entry: type[stackfile_schema.Entry]) -> None:
    first_cells = " ".join(line.split("|")[1] for line in PAGE.splitlines() if line.startswith("|"))
    inline = PAGE  # docker, provider and redundant are described in one cell of their parent
    for name, info in entry.model_fields.items():
        key = info.alias or name
        assert f"`{key}`" in first_cells or f"{key}:" in inline, f"{entry.__name__}.{key} is not in docs/stack-file.md"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.__name__)
def test_every_key_has_a_description_for_editors(entry: type[stackfile_schema.Entry]) -> None:
    assert all(info.description for info in entry.model_fields.values())


def test_the_schema_for_editors_is_current() -> None:
    stored = json.loads((DOCS / "schema" / "opsctl.schema.json").read_text())
    assert stored == json_schema(), "run: nox -s docs -- --write"


def test_the_schema_takes_the_example() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    jsonschema.validate(read_yaml(BLOCKS[0], "opsctl.yaml").data, json_schema())


@pytest.mark.parametrize(
    "text",
    [
        "services: {a: {phase: '${PHASE}'}}",
        "services: {a: }",
        "services: {a: {then: schema apply, proof: one, gate: {command: [x, y]}}}",
        "services: {a: {then: {sql: /x}}}",
        "x-a: 1\nservices: {a: {x-b: 2}}",
        "redundant: {a: why, b: {reason: why, since: '2026-01-10'}, since: '2026-01-10'}",
    ],
)
def test_the_schema_takes_short_forms(text: str) -> None:
    jsonschema.validate(read_yaml(f"version: 1\n{text}", "opsctl.yaml").data, json_schema())


@pytest.mark.parametrize(
    "text",
    [
        "service: {}",
        "services: {a: {fase: 1}}",
        "services: {a: {phase: 0}}",
        "services: {'a b': {}}",
        "services: {a: {gate: {tcp: 70000}}}",
        "services: {a: {then: [{sqll: x}]}}",
        "droplets: {a: {}}",
        "droplets: {a: {address: a@b, boot: reply}}",
        "droplets: {a: {address: a@b, docker: {sodu: auto}}}",
        "alerts: {webhok: x}",
        "redundant: {a: {since: '2026-01-10'}}",
    ],
)
def test_the_schema_refuses_what_opsctl_refuses(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(read_yaml(f"version: 1\n{text}", "opsctl.yaml").data, json_schema())
