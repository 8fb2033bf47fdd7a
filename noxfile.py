"""The project's chores. `./dev test` runs the default ones in its own environment; nox alone makes one each."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "docs", "tests"]
nox.options.error_on_missing_interpreters = False

LOCK = "requirements-dev.txt"
OTHER_PYTHONS = ["3.12", "3.13", "3.14"]


def prepare(session: nox.Session) -> None:
    """Install the locked dependencies and the checkout, unless the session runs in an environment that has them."""
    if session.virtualenv.venv_backend == "none":
        return
    session.install("--require-hashes", "-r", LOCK)
    session.install("--no-deps", "--editable", ".")


@nox.session
def lint(session: nox.Session) -> None:
    """Style and common mistakes."""
    prepare(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Strict typing of the package."""
    prepare(session)
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """The generated pages and schemas are as the code says (`nox -s docs -- --write` makes them so)."""
    prepare(session)
    session.run("python", "docs/generate.py", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """The whole suite: units, real servers, a container droplet, and once a virtual machine."""
    prepare(session)
    # Much of it waits for containers and gates: two workers keep two cores busy.
    session.run("pytest", "-n", "2", "--no-loadscope-reorder", *session.posargs)


@nox.session(python=OTHER_PYTHONS)
def compat(session: nox.Session) -> None:
    """What needs no droplet, on the other Pythons that are to be had."""
    prepare(session)
    session.run("pytest", "-m", "not sandbox and not vm and not torture and not browser", *session.posargs)


@nox.session
def torture(session: nox.Session) -> None:
    """The full count of kills at random points; the JSON stays in bench/results."""
    prepare(session)
    Path("bench/results").mkdir(parents=True, exist_ok=True)
    rounds = {"OPSCTL_TORTURE": "50", "OPSCTL_TORTURE_COMMANDS": "50", "OPSCTL_TORTURE_MIGRATE": "100"}
    session.run("pytest", "-m", "torture", "tests/torture", *session.posargs, env=rounds)


@nox.session
def bench(session: nox.Session) -> None:
    """Speed and memory, in ratios to a floor measured in the same run; a table, and JSON in bench/results."""
    prepare(session)
    session.run("python", "bench/run.py", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """The main job on a sandbox droplet."""
    prepare(session)
    session.run("python", "bench/demo.py", *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Look up newest versions within the bounds, and write both lock files."""
    uv = shutil.which("uv")
    if uv is None:
        session.install("uv")
    common = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "--no-annotate"]
    common += ["--upgrade", "--quiet", "--custom-compile-command", "nox -s lock"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("UV_")}
    for group, output in (([], "requirements.txt"), (["--group", "dev"], LOCK)):
        session.run("uv", "pip", "compile", "pyproject.toml", *group, *common, "-o", output, env=environment)
