"""Shared fixtures: the command as a user types it, and one container droplet for the whole session."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.handover import Handover

HANDOVER = pytest.StashKey[Handover]()
BASE_ENVIRONMENT = {
    key: value for key, value in os.environ.items() if not key.startswith(("OPSCTL_STACK", "COLUMNS", "FORCE_COLOR"))
}


def pytest_configure() -> None:
    """Let Ctrl-C reach what the tests start: a suite begun in the background has it ignored, and passes that on."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # A suite of several workers gives them a width: what is printed in here is piped, and its lines stay whole.
    os.environ.pop("COLUMNS", None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With several workers a file stays together, and so does all that shares the one virtual machine."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "vm" if "vm" in Path(file).stem.split("_") else file

    return ByFile(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before a test, or a fixture of its module, touches the shared droplet: it is as every test may expect it."""
    handover, wanted = item.config.stash.get(HANDOVER, None), getattr(item, "fixturenames", ())
    if handover is not None and "session_droplet" in wanted:
        handover.give(item.nodeid, clean="droplet" in wanted)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The machine's tests first, for they take longest, and among them last the file that takes it away in the end."""
    items.sort(key=lambda item: (item.get_closest_marker("vm") is None, item.path.name == "test_vm.py"))


class Said(str):
    """What a command printed. Words are found in it wherever its lines break: that depends on the length of a path."""

    __slots__ = ()

    def __contains__(self, words: str, /) -> bool:
        return super().__contains__(words) or " ".join(words.split()) in " ".join(self.split())


class _Nothing(list[Any]):
    """No droplet in an answer: who takes the first one is told what the command said instead."""

    def __init__(self, said: str) -> None:
        super().__init__()
        self._said = said

    def __getitem__(self, index: Any) -> Any:
        pytest.fail(f"the command answered for no droplet:\n{self._said}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line for each failure, where $OPSCTL_FAILURES says: `./dev test` ends with them."""
    reports = [each for kind in ("failed", "error") for each in terminalreporter.stats.get(kind, [])]
    path = os.environ.get("OPSCTL_FAILURES")
    if path and not hasattr(terminalreporter.config, "workerinput"):
        Path(path).write_text("".join(f"{each.nodeid} ({each.when}): {_reason(each)}\n" for each in reports))


def _reason(report: Any) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    words = (crash.message if crash is not None else str(report.longrepr)).split()
    return " ".join(words)[:300]


@dataclass(frozen=True)
class Opsctl:
    """Runs the real command in a process of its own."""

    environment: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None

    def argv(self, *words: str) -> list[str]:
        """The words of the process."""
        return [sys.executable, "-m", "opsctl", *words]

    def start(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        """Start it and return the process, for tests that interrupt or kill it."""
        environment = {**BASE_ENVIRONMENT, "COLUMNS": "100", **self.environment}
        return subprocess.Popen(
            self.argv(*words),
            env=environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **more,
        )

    def __call__(self, *words: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        process = self.start(*words)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"opsctl {' '.join(words)} did not end in {timeout} s\n{out}\n{err}")
        return subprocess.CompletedProcess(words, process.returncode, Said(out), Said(err))

    def json(self, *words: str, timeout: float = 240) -> dict[str, Any]:
        """Run it with --json and return the document, whatever the exit code."""
        done = self(*words, "--json", timeout=timeout)
        assert done.stdout.strip(), done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        assert document["exit_code"] == done.returncode
        if not document.get("droplets", True):
            document["droplets"] = _Nothing(done.stdout + done.stderr)
        return document


@dataclass(frozen=True)
class Droplet:
    """A running sandbox droplet."""

    name: str
    stack_file: Path
    opsctl: Opsctl
    ssh: tuple[str, ...]

    def sh(self, script: str, *, check: bool = True) -> str:
        """Run a shell script on the droplet as root and return its stdout."""
        done = subprocess.run([*self.ssh, "bash -s"], input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def running(self) -> set[str]:
        """The compose services that run now."""
        shown = self.sh("docker ps --format '{{.Label \"com.docker.compose.service\"}}'")
        return set(shown.split())


def engine_missing() -> str | None:
    """Why no container droplet can be had here; None when one can."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    asked = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    return None if asked.returncode == 0 else "no Docker engine answers"


@pytest.fixture
def opsctl(tmp_path: Path) -> Opsctl:
    """opsctl in an empty folder, with no stack file anywhere."""
    return Opsctl(folder=tmp_path)


@pytest.fixture(scope="session")
def sandbox_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A state folder of this session's own, so that nobody's sandbox is touched; the cache is shared."""
    return {"OPSCTL_SANDBOX_STATE": str(tmp_path_factory.mktemp("sandbox-state"))}


@pytest.fixture(scope="session")
def session_droplet(
    request: pytest.FixtureRequest, sandbox_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Droplet]:
    """One container droplet for the whole session; tests use `droplet`, which is cleaned first."""
    if reason := engine_missing():
        pytest.skip(reason)
    name = f"test-{os.getpid()}"
    opsctl = Opsctl(dict(sandbox_environment), tmp_path_factory.mktemp("work"))
    done = opsctl("sandbox", "up", "--kind", "container", "--name", name, timeout=1500)
    assert done.returncode == 0, done.stderr
    try:
        shown = opsctl.json("sandbox", "status", "--name", name)["droplets"][0]["result"]
        stack = Path(shown["stack_file"])
        known = Opsctl({**sandbox_environment, "OPSCTL_STACK": str(stack)}, opsctl.folder)
        made = Droplet(name, stack, known, tuple(shown["ssh"]))
        request.config.stash[HANDOVER] = Handover(made, Path(sandbox_environment["OPSCTL_SANDBOX_STATE"]))
        yield made
    finally:
        opsctl("sandbox", "down", "--name", name)


@pytest.fixture
def droplet(session_droplet: Droplet) -> Droplet:
    """The session's droplet with no container on it: see the hand-over before every test."""
    return session_droplet


MACHINE = f"vm-{os.getpid()}"


@pytest.fixture(scope="session")
def machine_opsctl(sandbox_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Opsctl:
    """opsctl that knows the session's sandboxes and no stack file."""
    return Opsctl(dict(sandbox_environment), tmp_path_factory.mktemp("machine-work"))


@pytest.fixture(scope="session")
def machine_folder(sandbox_environment: dict[str, str]) -> Path:
    """Where the session's machine keeps its files."""
    return Path(sandbox_environment["OPSCTL_SANDBOX_STATE"]) / MACHINE / MACHINE / "vm"


@pytest.fixture(scope="session")
def machine(machine_opsctl: Opsctl, machine_folder: Path) -> Iterator[Droplet]:
    """One virtual machine for the whole session. Its first `up` is killed half-way, for `up` must mend that anyway."""
    from opsctl.sandbox import vm_process

    first = machine_opsctl.start("sandbox", "up", "--kind", "vm", "--name", MACHINE)
    try:
        while vm_process.owner(machine_folder) is None:
            if first.poll() is not None:
                _, said = first.communicate()
                if first.returncode == 3:
                    pytest.skip(f"no machine can be made here: {said}")
                pytest.fail(said)
            time.sleep(0.2)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        half = machine_opsctl.json("sandbox", "status", "--name", MACHINE)["droplets"][0]["result"]
        assert half["condition"] == "broken", half
        up = machine_opsctl("sandbox", "up", "--name", MACHINE, timeout=900)
        assert up.returncode == 0, up.stderr
        seen = machine_opsctl.json("sandbox", "status", "--name", MACHINE)["droplets"][0]["result"]
        assert (seen["condition"], seen["kind"]) == ("running", "vm"), seen
        stack = Path(seen["stack_file"])
        opsctl = Opsctl({**machine_opsctl.environment, "OPSCTL_STACK": str(stack)}, machine_opsctl.folder)
        yield Droplet(MACHINE, stack, opsctl, tuple(seen["ssh"]))
    finally:
        first.kill()
        machine_opsctl("sandbox", "down", "--name", MACHINE)
