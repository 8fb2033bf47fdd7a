"""What probes ask a real PostgreSQL."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
from tests.conftest import Opsctl
from tests.stores.postgres_server import PostgresServer

from opsctl.model.cancel import Cancel
from opsctl.model.errors import UnreachableError
from opsctl.model.measures import MEASURES, Question
from opsctl.model.secret import Secret
from opsctl.model.store import Target
from opsctl.stores.probes import measure


def test_every_measure_there_is_gets_an_answer(postgres: PostgresServer) -> None:
    postgres.sql("DROP TABLE IF EXISTS opsctl_memory")
    names = tuple(MEASURES["postgres"])
    with psycopg.connect(postgres.url) as other:
        other.execute("SELECT 1")
        found = measure(postgres.target, Question("archive", names), Cancel(), 5)
    assert set(found) == set(names)
    assert 0 < (found["latency"].value or 0) < 5
    assert 0 < (found["connections"].value or 0) < 1
    assert (found["transaction"].value or 0) > 0
    assert (found["memories"].value, found["memories"].said) == (0, "there is no table opsctl_memory")


def test_a_server_that_is_away_is_no_measure() -> None:
    nobody = Target("postgres", Secret("postgresql://127.0.0.1:1/x"), "127.0.0.1:1/x", "x")
    with pytest.raises(UnreachableError):
        measure(nobody, Question("archive", ("latency",)), Cancel(), 2)


def test_validate_asks_it(postgres: PostgresServer, tmp_path: Path) -> None:
    document = {
        "version": 1,
        "stores": {"archive": {"postgres": postgres.url}},
        "droplets": {"here": {"address": "local"}},
        "probes": {
            "postgres": {"store": "archive", "expect": {"latency": "2s", "connections": "90%"}},
            "fallback": {"store": "archive", "expect": {"memories": 1000}},
        },
    }
    (tmp_path / "opsctl.yaml").write_text(json.dumps(document))
    found = Opsctl(folder=tmp_path).json("validate", "postgres", "fallback")
    probes = {each["name"]: each for each in found["droplets"][0]["result"]["probes"]}
    assert probes["postgres"]["passed"], probes
    assert not probes["fallback"]["passed"]
    assert "memories" in probes["fallback"]["said"]
