"""A first stack file: what it says follows from what was found, and it always loads again."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from opsctl.jobs.init import _LOOK, InitResult, Wanted, init
from opsctl.jobs.init_text import advice, draft, scalar, size, text_of
from opsctl.model.cancel import Cancel
from opsctl.model.engine import ComposeService, Container, EngineInfo, MemInfo, StackFacts
from opsctl.model.errors import ConfigError, OpsError, UsageError
from opsctl.model.memory_facts import ContainerFacts, MemoryFacts, MemorySample, Usage
from opsctl.model.ports import Completed, Script, Shell
from opsctl.model.stack import Droplet, Stack
from opsctl.model.stackfile import merge
from opsctl.model.stackfile_load import read_stack
from opsctl.model.stackfile_yaml import read_yaml
from opsctl.model.units import parse_size

INFO = EngineInfo("26.1.5", "2.26.1", False, False, "2", "systemd", "/var/lib/docker", "/var/run/docker.sock")
DROPLET = Droplet("agents", "root@203.0.113.7", compose=("/opt/stack/docker-compose.yml",))


def service(
    name: str, *needs: str, limit: int = 0, test: str = "", ports: dict[int, int] | None = None, **x: object
) -> ComposeService:
    words = ("CMD-SHELL", test) if test else ()
    return ComposeService(name, "image", False, dict.fromkeys(needs, "x"), ports or {}, words, limit, "", (), x)


def container(name: str, project: str = "stack", status: str = "running") -> Container:
    return Container(
        f"id-{name}", f"{project}-{name}-1", name, project, "image", "sha", status, "", (), 0, False, "", 0, "always",
        "", "", 1, 0, {}, (), "", "", (),
    )  # fmt: skip


def facts(*services: ComposeService, running: tuple[Container, ...] = (), total: int = 2_000_000_000) -> StackFacts:
    return StackFacts(
        INFO, MemInfo(total, total // 2, total // 4, 0, 0), "boot", 1.0, "stack", ("/opt/stack/docker-compose.yml",),
        {each.name: each for each in services}, running, frozenset(), frozenset(), "hash",
    )  # fmt: skip


def sample(**used: int) -> MemorySample:
    held = {
        name: ContainerFacts(
            name, name, name, "stack", "i", "running", "", 0, False, 0, None, Usage(n, n // 3, peak=2 * n)
        )
        for name, n in used.items()
    }
    return MemorySample(1, 2, held)


def written(found: StackFacts, seen: MemorySample | None = None, droplet: Droplet = DROPLET) -> str:
    merged = merge(read_stack("version: 1", Path("opsctl.yaml"), environ={}), found.compose)
    return text_of(draft(droplet, found, merged, seen), "Written by a test.")


def loaded(text: str) -> Stack:
    return read_stack(text, Path("/x/opsctl.yaml"), environ={})


def test_phases_follow_dependencies_and_memory_follows_what_runs() -> None:
    found = facts(service("web", "db"), service("db", limit=256 * 2**20), running=(container("db"),))
    text = written(found, sample(db=71_000_000))
    stack = loaded(text)
    assert (stack.services["db"].phase, stack.services["web"].phase) == (1, 2)
    assert stack.services["db"].memory == 80_000_000  # a tenth more, rounded up to 5 MB
    assert "# uses 71 MB now, peak 142 MB" in text
    assert stack.services["web"].memory is None


def test_what_is_held_counts_where_more_is_not_known() -> None:
    found = facts(service("db"), running=(container("db"),))
    seen = sample(db=1)
    held = replace(seen.containers["db"], memory=Usage(unreclaimable=71_000_000))
    text = written(found, replace(seen, containers={"db": held}))
    assert loaded(text).services["db"].memory == 80_000_000
    assert "# uses 71 MB now\n" in text


def test_limits_stand_in_where_they_fit_together() -> None:
    one = facts(service("a", limit=512 * 2**20), service("b", limit=256 * 2**20))
    assert loaded(written(one)).services["a"].memory == 512 * 2**20
    two = facts(service("a", limit=2**31), service("b", limit=256 * 2**20))
    text = written(two)
    assert loaded(text).services["b"].memory is None
    assert "limit 256MiB" in text
    assert "opsctl init --force" in text


def test_a_health_check_over_http_becomes_a_gate_at_the_published_port() -> None:
    found = facts(
        service("web", test="curl -fsS http://localhost:8000/health || exit 1", ports={8000: 18000}),
        service("inner", test='wget -q -O- "http://127.0.0.1:9090/-/healthy"'),
        service("db", test="pg_isready", ports={5432: 5432}),
        service("cache", ports={6379: 6379}),
        service("quiet"),
    )
    services = loaded(written(found)).services
    assert services["web"].gate.http == ":18000/health"
    assert services["inner"].gate.http == ":9090/-/healthy"
    assert services["db"].gate == services["quiet"].gate  # its own health check
    assert services["cache"].gate.tcp == 6379


def test_what_x_opsctl_says_already_is_not_repeated() -> None:
    found = facts(service("db", phase=1, memory="85MB"), service("web", "db", phase=2), service("other"))
    text = written(found, sample(web=10_000_000))
    stack = loaded(text)
    assert "services.db.phase" not in stack.origins
    assert stack.services["db"].memory is None
    merged = merge(stack, found.compose)
    assert {name: each.phase for name, each in merged.services.items()} == {"db": 1, "web": 2, "other": None}
    assert merged.services["db"].memory == 85_000_000
    assert "Not started by phases (a profile, or no phase given): other" in text


def test_containers_of_nobody_are_named() -> None:
    text = written(facts(service("a"), running=(container("a"), container("b", project="other"))))
    assert "never touched: other-b-1" in text


HOSTILE = (
    *("plain", "a b", "a: b", "#x", "- x", "'", '"', "true", "No", "123", "0x1", "~", "", "a\nb", "${HOME}", "a$$b"),
    *("é", "x:", "@a", "[::1]:22", "{a", "root@h:2222", "*a", "&a", "!a", "%a", "|", "\x07", "\u2028", "a\tb"),
)


@pytest.mark.parametrize("word", HOSTILE)
def test_any_text_is_read_back_as_it_was(word: str) -> None:
    from opsctl.model.stackfile_vars import Variables

    for text in (f"a: {scalar(word)}", f"a: {{b: {scalar(word)}, c: 1}}", f"a: [{scalar(word)}, x]"):
        value = read_yaml(text, "x").data["a"]
        value = value["b"] if isinstance(value, dict) else value[0] if isinstance(value, list) else value
        assert Variables({"HOME": "wrong"}).expand(value) == word


@pytest.mark.parametrize("seed", range(50))
def test_whatever_was_found_loads_again_and_fits_the_compose_file(seed: int) -> None:
    dice = random.Random(seed)
    names = dice.sample(
        ["a", "b-c", "d_e", "f.g", "true", "null", "123", "1e5", "on", "x-y", "version", "0"], dice.randint(0, 12)
    )
    services = [
        service(
            name,
            *dice.sample(names[:at], min(at, dice.randint(0, 2))),
            limit=dice.choice([0, 2**27, 2**31]),
            test=dice.choice(["", "curl http://localhost:80/a?b=c#d", "true", "curl http://localhost"]),
            ports=dice.choice([{}, {80: 8080}]),
        )
        for at, name in enumerate(names)
    ]
    droplet = Droplet(
        dice.choice(["agents", "123", "true"]),
        dice.choice(["root@h", "a@[::1]:22", "local"]),
        key=dice.choice([None, "/a b/c", "~/.ssh/x#y"]),
        compose=tuple(dice.sample(["/opt/a: b/x.yml", "/srv/${X}/y.yml", "/opt/'q'/z.yml"], dice.randint(0, 3))),
        project=dice.choice([None, "2024", "my-project"]),
        socket=dice.choice([None, "/run/user/1000/docker.sock"]),
        sudo=dice.choice(["auto", "always"]),
    )
    found = facts(*services)
    stack = loaded(written(found, sample(**{name: dice.randint(1, 10**9) for name in names[::2]}), droplet))
    read_back = stack.droplets[droplet.name]
    assert read_back == replace(droplet, key=read_back.key)
    merged = merge(stack, found.compose)
    plain = merge(loaded("version: 1"), found.compose)
    assert {n: s.phase for n, s in merged.services.items()} == {n: s.phase for n, s in plain.services.items()}


@pytest.mark.parametrize("count", [0, 1, 999, 5_000_000, 85_000_000, 10**9, 2**20, 2**30, 3 * 2**28, 123_456_789])
def test_sizes_are_written_without_loss(count: int) -> None:
    assert parse_size(size(count)) == count


def test_advice_only_where_something_is_unknown() -> None:
    found = facts(service("a"), running=(container("a"),))
    merged = merge(loaded("version: 1"), found.compose)
    assert advice(draft(DROPLET, found, merged, None))
    assert not advice(draft(DROPLET, found, merged, sample(a=10**7)))


# ---- the job: over a real bash, with a droplet's answers where an engine would give them


class Bash:
    """A Shell on this machine; `docker` is not asked, its listing is given."""

    def __init__(self, folder: Path, listing: str = "") -> None:
        self.folder, self.listing = folder, listing

    def run(self, script: Script, *, cancel: Cancel, timeout: float) -> Completed:
        if "docker ps" in script.text:
            return Completed(0, self.listing.encode(), b"")
        argv = ["bash", "-c", script.text, "bash", *script.args]
        done = subprocess.run(argv, capture_output=True, cwd=self.folder, timeout=timeout, check=False)
        return Completed(done.returncode, done.stdout, done.stderr)

    def stream(self, script: Script, *, cancel: Cancel, timeout: float | None) -> Iterator[str]:
        raise NotImplementedError


class Known:
    """An engine and a memory reader that know one answer; remembers what they were asked about."""

    def __init__(self, found: StackFacts) -> None:
        self.found = found
        self.droplets: list[Droplet] = []

    def __call__(self, droplet: Droplet) -> Known:
        self.droplets.append(droplet)
        return self

    def facts(self, *, cancel: Cancel) -> StackFacts:
        droplet = self.droplets[-1]
        return replace(self.found, compose_files=droplet.compose or self.found.compose_files)

    def read(self, shell: Shell, *, cancel: Cancel, patience: float) -> MemoryFacts:
        raise NotImplementedError

    def sample(self, shell: Shell, *, cancel: Cancel) -> MemorySample:
        raise OpsError("not readable")


LISTED = "id{n}\tname{n}\trunning\tUp\timage\t{project}\tservice{n}\tFalse\t/opt/{project}/docker-compose.yml\n"


def run(
    tmp_path: Path, *, listing: str = "", droplet: Droplet | None = None, **wanted: object
) -> tuple[InitResult, Known]:
    known = Known(facts(service("a"), service("b", "a")))
    values = {"output": tmp_path / "opsctl.yaml", **wanted}
    result = init(
        Bash(tmp_path, listing), known, known, droplet or Droplet("root@h", "root@h"), Wanted(**values),  # type: ignore[arg-type]
        made="Written by a test.", cancel=Cancel(30),
    )  # fmt: skip
    return result, known


def test_the_project_of_the_containers_is_adopted(tmp_path: Path) -> None:
    result, known = run(tmp_path, listing=LISTED.format(n=1, project="stack"))
    assert known.droplets[0].project == "stack"
    assert known.droplets[0].compose == ()
    stack = read_stack((tmp_path / "opsctl.yaml").read_text(), tmp_path / "opsctl.yaml", environ={})
    assert result.written
    (droplet,) = stack.droplets.values()
    assert droplet.compose == ("/opt/stack/docker-compose.yml",)
    assert droplet.project is None  # compose comes to it by itself
    assert stack.services["b"].phase == 2


def test_several_projects_are_a_question_with_an_answer_to_copy(tmp_path: Path) -> None:
    listing = LISTED.format(n=1, project="one") + LISTED.format(n=2, project="two") + LISTED.format(n=3, project="two")
    with pytest.raises(UsageError) as caught:
        run(tmp_path, listing=listing)
    assert caught.value.info.next == "opsctl init root@h --project two"
    assert run(tmp_path, listing=listing, project="one")[1].droplets[0].project == "one"
    with pytest.raises(UsageError, match="no compose project three"):
        run(tmp_path, listing=listing, project="three", force=True)


def test_a_compose_file_that_never_ran_is_found_on_the_disk(tmp_path: Path) -> None:
    folder = tmp_path / "deploy with space"
    folder.mkdir()
    (folder / "docker-compose.yml").write_text("services: {}")
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "compose.yaml").write_text("services: {}")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "compose.yaml").write_text("services: {}")
    script = Script(_LOOK, ("40", "compose.yaml", "docker-compose.yml"))
    listed = Bash(tmp_path).run(script, cancel=Cancel(30), timeout=30).text.splitlines()
    assert listed[0]
    assert [each for each in listed[1:] if each.startswith(str(tmp_path))] == [str(folder / "docker-compose.yml")]


def test_several_compose_files_are_a_question_too(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "compose.yaml").write_text("services: {}")
    with pytest.raises(UsageError) as caught:
        run(tmp_path)
    assert "--compose /" in caught.value.info.next
    given = (str(tmp_path / "one" / "compose.yaml"),)
    assert run(tmp_path, compose=given)[1].droplets[0].compose == given


def test_a_file_is_never_replaced_without_being_told(tmp_path: Path) -> None:
    (tmp_path / "opsctl.yaml").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        run(tmp_path, listing=LISTED.format(n=1, project="stack"))
    assert (tmp_path / "opsctl.yaml").read_text() == "mine"
    run(tmp_path, listing=LISTED.format(n=1, project="stack"), force=True)
    assert (tmp_path / "opsctl.yaml").read_text().startswith("# Written by a test.")
    assert [each.name for each in tmp_path.iterdir()] == ["opsctl.yaml"]


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    result, _ = run(tmp_path, listing=LISTED.format(n=1, project="stack"), dry_run=True)
    assert not result.written
    assert "version: 1" in result.text
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_or_may_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        run(tmp_path, listing=LISTED.format(n=1, project="stack"), output=tmp_path / "gone" / "opsctl.yaml")
    with pytest.raises(UsageError, match="is a folder"):
        run(tmp_path, listing=LISTED.format(n=1, project="stack"), output=tmp_path)


def test_no_compose_file_anywhere_says_how_to_name_one(tmp_path: Path) -> None:
    from opsctl.jobs.init import _only

    with pytest.raises(ConfigError) as caught:
        _only(Droplet("h", "root@h"), [])
    assert caught.value.info.next == "opsctl init root@h --compose /path/to/docker-compose.yml"
