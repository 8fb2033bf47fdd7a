"""Scripts are built purely, answers are judged, and errors say what to type next."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from opsctl.docker.engine import DockerEngine
from opsctl.docker.facts import MARK, parse_facts, parse_machine, split
from opsctl.docker.inspect import TEMPLATE
from opsctl.model.cancel import Cancel
from opsctl.model.engine import Begun
from opsctl.model.errors import ConfigError, OpsError, UnreachableError
from opsctl.model.plan import GuardFact
from opsctl.model.ports import Completed, Script
from opsctl.model.stack import Droplet, Then

DROPLET = Droplet("d", "root@h", compose=("/s/c.yml",))
INFO = {
    "version": "26.1.5",
    "security": ["name=seccomp"],
    "cgroup": "2",
    "driver": "systemd",
    "root": "/var/lib/docker",
}
PLUGINS = [{"Name": "compose", "Version": "v2.26.1"}]
CONFIG = {"name": "p", "services": {"db": {"image": "db:1"}}}


def answer(**changed: object) -> str:
    """The remote script's output; a value is the section's text, or (text, status); None leaves it out."""
    sections: dict[str, object] = {
        "call": "hash\np\n\n1\n/s/c.yml",
        "machine": "boot b-1\nuptime 12.5 20.0\nMemTotal:  2000 kB\nMemAvailable: 1000 kB\n./db.1:mark id t",
        "version": "1.45",
        "socket": "unix:///var/run/docker.sock\n/usr/bin/docker",
        "inspect": "",
        "info": json.dumps({**INFO, "plugins": PLUGINS}),
        "images": "db:1 db@<none> sha",
        "config": f"time=x level=warning msg=version\n{json.dumps(CONFIG, indent=2)}",
        "dryrun": "",
        **changed,
    }
    text = ""
    for name, value in sections.items():
        if value is not None:
            body, code = value if isinstance(value, tuple) else (value, 0)
            text += f"{MARK} {name}\n{body}\n{MARK} rc {code}\n"
    return text


def test_facts_of_a_healthy_answer() -> None:
    facts, call = parse_facts(DROPLET, answer())
    assert (facts.project, facts.file_hash, facts.boot_id, facts.uptime) == ("p", "hash", "b-1", 12.5)
    assert facts.memory.available == 1000 * 1024 and facts.memory.swap_total == 0
    assert facts.engine.compose_version == "2.26.1" and not facts.engine.rootless and not facts.engine.snap
    assert facts.compose["db"].image == "db:1" and not facts.missing_images
    assert facts.done == {"db.1": "mark id t"}
    assert call.project == "p" and call.files == ("/s/c.yml",)


def test_rootless_and_snap_are_recognised() -> None:
    rootless = json.dumps({**INFO, "plugins": PLUGINS, "security": ["name=rootless"]})
    assert parse_facts(DROPLET, answer(info=rootless))[0].engine.rootless
    assert parse_facts(DROPLET, answer(socket="unix:///s\n/snap/bin/docker"))[0].engine.snap


def test_a_missing_memavailable_is_estimated() -> None:
    assert parse_machine("MemFree: 5 kB\nCached: 6 kB")[2].available == 11 * 1024


DENIED = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock"
DOWN = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
NO_PLUGIN = json.dumps({**INFO, "plugins": []})
OLD_PLUGIN = json.dumps({**INFO, "plugins": [{"Name": "compose", "Version": "v2.17.0"}]})
OLD = json.dumps({**INFO, "version": "19.03.1", "plugins": PLUGINS})


@pytest.mark.parametrize(
    ("output", "code", "says"),
    [
        (f"{MARK} nodocker\n{MARK} rc 0\n", "no-docker", "install Docker"),
        (answer(inspect=(DENIED, 1)), "docker-permission", "usermod -aG docker"),
        (answer(inspect=(DOWN, 1)), "engine-down", "opsctl recover"),
        (answer(inspect=("Error response from daemon: client version 1.50 is too new", 1)), "engine-refused", "doctor"),
        (answer(info=NO_PLUGIN), "no-compose", "docker-compose-plugin"),
        (answer(info=NO_PLUGIN, socket="s\n/usr/bin/docker\n/usr/bin/docker-compose"), "compose-v1", "docker-compose"),
        (answer(info=OLD_PLUGIN), "compose-too-old", "docker-compose-plugin"),
        (answer(info=OLD), "engine-too-old", "upgrade"),
        ("", "half-answer", "again"),
    ],
)
def test_an_engine_that_cannot_be_used(output: str, code: str, says: str) -> None:
    with pytest.raises(UnreachableError) as error:
        parse_facts(DROPLET, output)
    assert error.value.info.code == code and says in error.value.info.next and error.value.info.why


@pytest.mark.parametrize(
    ("droplet", "output", "what", "why"),
    [
        (DROPLET, answer(config=("open /s/c.yml: no such file or directory", 14)), "missing", "no such file"),
        (DROPLET, answer(config=("warn level=warning\nservices.a Additional property imag\n", 15)), "rejects", "imag"),
        (Droplet("d", "h"), answer(call=None, config=None, dryrun=None), "no compose file", "no container"),
        (Droplet("d", "h"), answer(call="hash\np\n/w\n2\n/s/c.yml"), "2 compose projects", "guess"),
    ],
)
def test_a_compose_file_that_cannot_be_used(droplet: Droplet, output: str, what: str, why: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_facts(droplet, output)
    assert what in error.value.info.what and why in error.value.info.why and error.value.info.next


def test_sections_keep_their_text_and_status() -> None:
    found = split(f"noise\n{MARK} a\n1\n2\n\n{MARK} rc 3\n{MARK} b\n\n{MARK} rc 0\n")
    assert (found["a"].text, found["a"].code, found["b"].text) == ("1\n2", 3, "")


@dataclass
class Recorded:
    """A shell that answers with what a droplet once said, and keeps what it was asked."""

    output: str
    asked: list[Script] = field(default_factory=list)

    def run(self, script: Script, *, cancel: Cancel, timeout: float) -> Completed:
        self.asked.append(script)
        return Completed(0, self.output.encode(), b"")

    def stream(self, script: Script, *, cancel: Cancel, timeout: float | None) -> Iterator[str]:
        raise AssertionError


def engine(droplet: Droplet = DROPLET) -> DockerEngine:
    found = DockerEngine(Recorded(answer()), droplet)
    found.facts(cancel=Cancel())
    return found


def test_everything_is_read_in_one_call() -> None:
    shell = Recorded(answer())
    DockerEngine(shell, DROPLET).facts(cancel=Cancel())
    (script,) = shell.asked
    assert (
        script.args[:2] == (MARK, TEMPLATE) and script.args[-4:] == ("1", "/s/c.yml", "0")[-4:]
    ) or "/s/c.yml" in script.args


def test_what_changes_is_built_from_constant_text_and_arguments() -> None:
    hostile = "x; rm -rf / #$(id)'\""
    docker = engine()
    for script in (
        docker.create([hostile]),
        docker.start([hostile]),
        docker.stop([hostile], grace=3),
        docker.remove([hostile]),
        docker.guards([GuardFact("container-id", hostile, hostile)]),
        docker.then(hostile, hostile, Then("command", (hostile,)), stdin=None, mark=hostile),
        docker.then("a", hostile, Then("sql", (hostile,)), stdin=None, mark=""),
        docker.diagnose("a", hostile),
    ):
        assert hostile not in script.text and hostile in script.args


def test_create_neither_recreates_nor_builds_pulls_or_starts() -> None:
    text = engine().create(["a"]).text
    assert "up --no-start --no-recreate --no-build --pull never" in text and "--no-deps" not in text


def test_stop_gives_the_containers_own_time_unless_told_otherwise() -> None:
    assert engine().stop(["a"], grace=None).args == ("", "stop", "--", "a")
    assert engine().stop(["a"], grace=3.2).args == ("", "stop", "-t", "3", "--", "a")


def test_what_starting_and_creating_print() -> None:
    docker = engine()
    output = "@@since 17.5\n@@each a 0 \n@@each b 1 Error response from daemon: no\n@@each c 1 \nnoise\n"
    assert docker.parse_started(output) == {"a": "", "b": "Error response from daemon: no", "c": "exit status 1"}
    assert docker.parse_since(output) == "17.5"
    assert docker.parse_created("@@created db id1\n@@created  id2\n") == {"db": "id1"}
    assert docker.parse_usage("@@usage id 12\n") == {"id": 12}


def test_nothing_is_built_before_the_project_is_known() -> None:
    with pytest.raises(OpsError):
        DockerEngine(Recorded(""), DROPLET).create(["a"])


def test_a_release_that_was_begun_comes_with_the_facts() -> None:
    assert parse_facts(DROPLET, answer())[0].begun is None
    meta = json.dumps({"up": ["db", "app"], "command": "opsctl deploy --push deploy"})
    head = "boot b-1\nuptime 12.5 20.0\nMemTotal:  2000 kB\nMemAvailable: 1000 kB\n"
    line = f"{head}begun 20261102-1,begun,20261101-0,busy {meta}\n./db.1:mark"
    up, command = ("db", "app"), "opsctl deploy --push deploy"
    facts = parse_facts(DROPLET, answer(machine=line))[0]
    assert facts.begun == Begun("20261102-1", False, True, "20261101-0", command, up)
    assert facts.done == {"db.1": "mark"}
    # What was written half says at least that there is something.
    half = parse_facts(DROPLET, answer(machine=f'{head}begun 20261101-0,back,20261102-1, {{"up": [\n'))[0]
    assert half.begun == Begun("20261101-0", True, False, "20261102-1", "", ())
