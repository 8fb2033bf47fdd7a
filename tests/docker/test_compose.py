"""What compose says, as facts."""

from __future__ import annotations

from tests.jobs.startup_facts import compose as service
from tests.jobs.startup_facts import container

from opsctl.docker.compose import ComposeCall, missing_images, normalised, parse_drift, parse_services

CONFIG = {
    "name": "p",
    "services": {
        "app": {
            "image": "app:1",
            "depends_on": {"db": {"condition": "service_healthy", "required": True}},
            "deploy": {"resources": {"limits": {"memory": "268435456"}}, "placement": {}},
            "environment": {"TOKEN": "secret"},
            "healthcheck": {"test": ["CMD", "true"], "interval": "30s"},
            "ports": [
                {"mode": "ingress", "host_ip": "127.0.0.1", "target": 8000, "published": "18000", "protocol": "tcp"},
                {"mode": "ingress", "target": 53, "published": "53", "protocol": "udp"},
                {"mode": "ingress", "target": 9, "protocol": "tcp"},
            ],
            "restart": "always",
        },
        "db": {"build": {"context": "."}, "mem_limit": "67108864", "healthcheck": {"disable": True}, "profiles": ["x"]},
    },
}


def test_services_of_the_resolved_configuration() -> None:
    services = parse_services(CONFIG, {"services": {"app": {"x-opsctl": {"phase": 2}}}})
    app, db = services["app"], services["db"]
    assert app.depends_on == {"db": "service_healthy"}
    assert app.ports == {8000: 18000} and app.memory_limit == 256 * 2**20
    assert app.health_test == ("CMD", "true") and app.x_opsctl == {"phase": 2}
    assert db.has_build and not db.image and db.memory_limit == 64 * 2**20
    assert db.health_test == () and db.profiles == ("x",) and db.restart == "no"
    assert "secret" not in repr(services)


def test_a_newer_compose_gives_extensions_in_the_json_itself() -> None:
    config = {"services": {"a": {"image": "a", "x-opsctl": {"phase": 1}}, "b": None}}
    assert parse_services(config, {})["a"].x_opsctl == {"phase": 1}


def test_a_health_check_as_one_string_is_for_the_shell() -> None:
    found = parse_services(
        {"services": {"a": {"healthcheck": {"test": "curl x"}}, "b": {"healthcheck": {"test": ["NONE"]}}}}, {}
    )
    assert found["a"].health_test == ("CMD-SHELL", "curl x") and found["b"].health_test == ()


def test_what_a_dry_run_would_recreate_is_drift() -> None:
    output = """ DRY-RUN MODE -  Network p_default  Created
 DRY-RUN MODE -  Container p-db-1  Running
 DRY-RUN MODE -  Container p-app-1  Recreate
 DRY-RUN MODE -  Container p-new-1  Creating
 DRY-RUN MODE -  Container p-app-1  Recreated
time="2026-11-20T19:00:00Z" level=warning msg="Found orphan containers"
"""
    assert parse_drift(output, [container("db"), container("app")]) == {"app"}
    assert parse_drift("", [container("db")]) == frozenset()


def test_image_names_are_compared_as_the_engine_lists_them() -> None:
    assert normalised("postgres") == "postgres:latest"
    assert normalised("docker.io/library/postgres:16") == "postgres:16"
    assert normalised("host:5000/a") == "host:5000/a:latest"
    assert normalised("a@sha256:12") == "a@sha256:12"


def test_missing_images_are_those_of_services_without_a_container() -> None:
    services = {each.name: each for each in (service("a"), service("b"), service("c"))}
    found = missing_images(services, ["docker.io/library/a:1", "x:1"], [container("c")], "p")
    assert found == {"b"}


def test_a_built_service_without_an_image_is_named_by_its_project() -> None:
    services = parse_services({"services": {"app": {"build": {"context": "."}}}}, {})
    assert missing_images(services, ["p-app:latest"], [], "p") == frozenset()
    assert missing_images(services, ["p_app:latest"], [], "p") == frozenset()
    assert missing_images(services, ["q-app:latest"], [], "p") == {"app"}


def test_the_words_of_a_compose_call() -> None:
    words = ComposeCall(("/a b.yml", "/c.yml"), ("/.env",), "p", "/w").arguments()
    assert words == (
        "--profile", "*", "-f", "/a b.yml", "-f", "/c.yml", "--env-file", "/.env", "-p", "p",
        "--project-directory", "/w",
    )  # fmt: skip
