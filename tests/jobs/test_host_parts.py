"""opsctl for a droplet: what is collected, what its stack file says, how versions go together. Nothing remote."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

import opsctl
from opsctl.hosts import packer, wheels
from opsctl.jobs.host_actions import digest
from opsctl.jobs.host_facts import HostFacts, Placed, parse
from opsctl.jobs.host_install import contents, differing, how_to_replay, target_of
from opsctl.jobs.host_status import judge, skew
from opsctl.model import assets
from opsctl.model.cancel import Cancel
from opsctl.model.droplet_app import Target
from opsctl.model.errors import ConfigError, StepFailed
from opsctl.model.stack import Droplet
from opsctl.model.stackfile import load_stack
from opsctl.model.stackfile_droplet import DropletFiles, for_droplet
from opsctl.model.stackfile_load import read_stack
from opsctl.spine.hold import Hold

TRIXIE = Target("/usr/bin/python3.13", (3, 13), "x86_64", "glibc", (2, 41))
STACK = """version: 1
env_file: mine.env
x-base: &base {reserve: 150MB}
droplets:
  agents: {<<: *base, address: root@192.0.2.7, key: ~/.ssh/id, compose: /opt/c.yml, provider: {digitalocean: 7}}
  other: {<<: *base, address: root@192.0.2.8}
services:
  postgres: {phase: 1, gate: {tcp: 5432, http: ":8000/health"}, then: [{sql: own.sql}, {command: "echo ${WORD}"}]}
stores:
  a: {postgres: "postgres://u:s3cr3tpass@db/x"}
  b: {redis: "${R_URL}", export_key: bGl0ZXJhbGx5LXRoZXJlLTMyLWJ5dGVzLW9mLWEta2V5ISE=}
  c: {weaviate: "${NOWHERE}", api_key: "${cmd:echo from-a-command}"}
"""


def files(folder: Path, *, secret: str = "redis://:hunter22@r/0") -> DropletFiles:
    (folder / "own.sql").write_text("select 1;\n")
    (folder / "collections.yaml").write_text("version: 1\ncollections: {}\n")
    (folder / "mine.env").write_text('WORD="it\'s"\nUNUSED=1\n')
    (folder / "opsctl.yaml").write_text(STACK)
    environ = {"R_URL": secret}
    stack = load_stack(folder / "opsctl.yaml", environ={**os.environ, **environ})
    return for_droplet(stack, stack.droplets["agents"], environ)


def test_a_droplets_stack_file_is_its_own_and_says_the_same(tmp_path: Path) -> None:
    made = files(tmp_path)
    there = tmp_path / "there"
    there.mkdir()
    (there / "secrets.env").write_text(made.secrets_text().reveal())
    for name, data in made.files.items():
        (there / name).write_bytes(data)
    stack = read_stack(made.text, there / "opsctl.yaml", environ={})
    assert made.files["collections.yaml"] == (tmp_path / "collections.yaml").read_bytes()
    assert list(stack.droplets) == ["agents"]
    droplet = stack.droplets["agents"]
    assert (droplet.address, droplet.key, droplet.reserve, droplet.compose) == (
        "local",
        None,
        150_000_000,
        ("/opt/c.yml",),
    )
    here = load_stack(tmp_path / "opsctl.yaml", environ={"R_URL": "x"})
    assert stack.services == here.services
    assert stack.stores["a"]["postgres"].reveal() == "postgres://u:s3cr3tpass@db/x"
    assert stack.stores["b"]["redis"].reveal() == "redis://:hunter22@r/0"
    assert stack.stores["b"]["export_key"].reveal().startswith("bGl0ZXJhbGx5")
    assert stack.stores["c"]["api_key"].reveal() == "from-a-command"


def test_a_probe_of_a_store_that_is_left_out_is_left_out_too(tmp_path: Path) -> None:
    (tmp_path / "opsctl.yaml").write_text(
        "version: 1\ndroplets: {a: {address: root@192.0.2.7}, b: {address: root@192.0.2.8}}\n"
        'stores: {near: {redis: "redis://r", via: a}, far: {redis: "redis://r", via: b}}\n'
        "probes: {near-answers: {store: near}, far-answers: {store: far}}\n"
    )
    stack = load_stack(tmp_path / "opsctl.yaml", environ={})
    made = for_droplet(stack, stack.droplets["a"], {})
    (tmp_path / "secrets.env").write_text(made.secrets_text().reveal())
    there = read_stack(made.text, tmp_path / "there.yaml", environ={})
    assert (list(there.stores), list(there.probes)) == (["near"], ["near-answers"])
    assert any("far-answers is left out" in note for note in made.notes)


def test_nothing_secret_is_outside_the_secrets_file(tmp_path: Path) -> None:
    made = files(tmp_path)
    for secret in ("s3cr3tpass", "hunter22", "from-a-command", "bGl0ZXJhbGx5", "192.0.2.8", ".ssh"):
        assert secret not in made.text
    assert "UNUSED" not in made.secrets
    assert made.notes and "NOWHERE" in made.notes[0]
    assert "hunter22" not in repr(made)


@pytest.mark.parametrize("value", ["it's", 'say "hi"', "a # b", "back\\slash", "two\nlines", " padded ", "", "a=b"])
def test_a_secret_is_read_as_it_was_written(tmp_path: Path, value: str) -> None:
    made = files(tmp_path, secret=f"redis://{value}")
    (tmp_path / "secrets.env").write_text(made.secrets_text().reveal())
    stack = read_stack(made.text, tmp_path / "opsctl.yaml", environ={})
    assert stack.stores["b"]["redis"].reveal() == f"redis://{value}"


def test_a_value_that_no_env_file_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="OPSCTL_STORES_B_REDIS"):
        files(tmp_path, secret="both ' and \" and # and\nlines").secrets_text()


def test_without_a_stack_file_the_droplet_is_the_whole_stack() -> None:
    stack = load_stack(droplets=("root@192.0.2.7",), environ={}, cwd=Path("/nonexistent-folder"))
    made = for_droplet(stack, stack.droplets["root@192.0.2.7"], {})
    again = read_stack(made.text, Path("/etc/opsctl/opsctl.yaml"), environ={})
    assert [each.address for each in again.droplets.values()] == ["local"]


def test_wheels_are_asked_for_by_what_the_droplet_can_load() -> None:
    assert wheels.platforms(TRIXIE)[:2] == ["manylinux_2_41_x86_64", "manylinux_2_40_x86_64"]
    old = replace(TRIXIE, machine="aarch64", libc_version=(2, 28))
    assert wheels.platforms(old) == [
        "manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_24_aarch64", "manylinux_2_17_aarch64",
        "manylinux2014_aarch64",
    ]  # fmt: skip
    assert wheels.platforms(replace(TRIXIE, libc="musl", libc_version=(0, 0)))[0] == "musllinux_1_2_x86_64"
    words = wheels.arguments("pydantic-core", "2.0", TRIXIE, Path("/tmp/x"))
    assert "--only-binary=:all:" in words and "--no-deps" in words and words[-1] == "pydantic-core==2.0"
    assert words[words.index("--python-version") + 1] == "313"
    assert not wheels.is_here(replace(TRIXIE, version=(3, 99)))


def mine() -> Target:
    import platform

    libc, version = platform.libc_ver()
    major, minor = (int(part) for part in version.split("."))
    return Target(sys.executable, sys.version_info[:2], platform.machine(), libc, (major, minor))


def test_what_is_installed_here_runs_alone_in_a_folder(tmp_path: Path) -> None:
    bundle = packer.LocalPacker().pack(mine(), cancel=Cancel())
    assert {"typer", "rich", "pydantic", "pydantic-core", "ruamel-yaml"} <= set(bundle.packages)
    assert not {"paramiko", "docker", "weaviate-client", "qdrant-client", "psycopg", "redis"} & set(bundle.packages)
    (tmp_path / "a.tar.gz").write_bytes(bundle.archive())
    site = tmp_path / "site"
    site.mkdir()
    subprocess.run(["tar", "-xzf", tmp_path / "a.tar.gz", "-C", site], check=True)
    code = "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]\n"
    code += f"sys.path.insert(0, {str(site)!r})\n"
    code += "sys.argv = ['opsctl', 'config', 'show', '--offline', '--json']; from opsctl.cli.main import run; run()"
    (tmp_path / "opsctl.yaml").write_text("version: 1\ndroplets: {a: {address: local}}\n")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"ok": true' in done.stdout


def test_an_installed_opsctl_without_sources_makes_the_same(tmp_path: Path) -> None:
    package = Path(opsctl.__file__).resolve().parent
    copy = tmp_path / "site" / "opsctl"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for kind in get_args(assets.Kind):
        if (package.parents[1] / kind).is_dir():
            shutil.copytree(package.parents[1] / kind, copy / kind)
    code = (
        f"import sys; sys.path.insert(0, {str(copy.parent)!r})\n"
        "from opsctl.hosts import packer\n"
        f"assert packer.__file__.startswith({str(copy)!r})\n"
        "print(packer._digest(dict(packer.own_files())))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == packer._digest(dict(packer.own_files()))


def test_only_what_runs_there_goes_along() -> None:
    names = [name for name, _ in packer.own_files()]
    assert "opsctl/cli/main.py" in names and "opsctl/hosts/agent.sh" in names
    assert any(name.startswith("opsctl/sql/") for name in names)
    assert not [name for name in names if name.startswith("opsctl/sandbox/") or "__pycache__" in name]


def test_a_wheel_that_cannot_be_had_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(StepFailed) as raised:
        list(wheels.fetch("pydantic-core", "2.50.4", replace(TRIXIE, machine="riscv64"), cancel=Cancel()))
    info = raised.value.info
    assert "riscv64" in info.what and "pip download" in info.next and str(tmp_path) in info.next


SEEN = """@@python
/usr/bin/python3.9 3.9 x86_64 glibc 2.36 cpython
/usr/bin/python3.13t 3.13 x86_64 glibc 2.41 cpythont
/usr/bin/python3.13 3.13 x86_64 glibc 2.41 cpython
@@current
/var/lib/opsctl/app/0.1.0-abc
@@versions
0.1.0-abc
@@size
24000	/var/lib/opsctl/app
@@count
1200
@@link
/var/lib/opsctl/app/current/bin/opsctl
@@answers
opsctl 0.1.0
@@files
38 777 - link /usr/local/bin/opsctl
2649 644 12ab file /etc/opsctl/opsctl.yaml
@@nested
10 644 - file /etc/opsctl/my sql/x.sql
@@systemd
yes
@@units
opsctl-replay.service enabled active
@@boot
{"version":1,"replay":true,"policies":{"b":"always"},"up":["a","b"]}
@@free
5000000000
@@root
yes
"""


def facts() -> HostFacts:
    return parse(SEEN)


def test_what_the_droplet_says_is_read() -> None:
    found = facts()
    assert found.targets == (TRIXIE,)
    assert found.installed and found.size == 24_576_000 and found.count == 1200
    assert found.files["/etc/opsctl/my sql/x.sql"].size == 10
    assert found.boot.up == ("a", "b") and found.boot.policies == {"b": "always"}
    assert not parse("").installed
    with pytest.raises(StepFailed) as raised:
        target_of(replace(found, targets=()), "agents")
    assert "python3.9 (3.9)" in raised.value.info.why


@pytest.mark.parametrize(
    ("one", "other", "apart"), [("0.1.0", "0.1.9", 0), ("0.1.3", "0.2.0", 1), ("0.4.0", "0.2.1", 2), ("1.0", "0.9", 99)]
)
def test_how_far_versions_are_apart(one: str, other: str, apart: int) -> None:
    assert skew(one, other) == apart


def test_the_status_names_what_is_wrong() -> None:
    droplet = Droplet("agents", "root@192.0.2.7", boot="replay")
    good = judge(facts(), droplet, None)
    assert (good.there, good.problems, good.next) == ("0.1.0", (), "")
    held = judge(facts(), droplet, Hold("r1", "recover", 90))
    assert "recover" in held.hold
    silent = judge(replace(facts(), answers="Traceback"), droplet, None)
    assert (
        silent.problems and "does not answer" in silent.problems[0] and silent.next == "opsctl host upgrade -d agents"
    )
    far = judge(replace(facts(), answers="opsctl 0.9.0"), droplet, None)
    assert "more does not" in far.problems[0] and "newer" in far.problems[0]
    near = judge(replace(facts(), answers="opsctl 0.0.4"), droplet, None)
    assert "still works" in near.problems[0] and near.next


def test_what_is_out_of_date_there_is_named_and_nothing_else(tmp_path: Path) -> None:
    made = files(tmp_path)
    there = {**contents(made), "/etc/opsctl/secrets.env": made.secrets_text().reveal().encode()}
    modes = {path: "600" if path.endswith(".env") else "644" for path in there}
    found = replace(
        facts(), files={path: Placed(path, len(data), modes[path], digest(data)) for path, data in there.items()}
    )
    assert differing(found, made) == ()
    assert differing(found, replace(made, text=made.text + "alerts: {}\n")) == ("/etc/opsctl/opsctl.yaml",)
    assert differing(found, files(tmp_path, secret="redis://:other@r/0")) == ("/etc/opsctl/secrets.env",)
    assert differing(found, replace(made, secrets={})) == ("/etc/opsctl/secrets.env",)
    old = judge(found, Droplet("agents", "root@192.0.2.7"), None, ("/etc/opsctl/opsctl.yaml",))
    assert "differs" in old.problems[0] and old.next == "opsctl host upgrade -d agents"


def test_without_systemd_it_says_what_is_not_possible() -> None:
    droplet = Droplet("agents", "root@192.0.2.7", boot="replay")
    bare = replace(facts(), systemd=False, cron=False)
    assert how_to_replay(facts(), droplet, cron=False) == ("systemd", ())
    how, notes = how_to_replay(bare, droplet, cron=False)
    assert how == "" and "no cron either" in notes[0]
    how, notes = how_to_replay(replace(bare, cron=True), droplet, cron=False)
    assert how == "" and "--cron" in notes[0]
    how, notes = how_to_replay(replace(bare, cron=True), droplet, cron=True)
    assert how == "cron" and "only Docker" in notes[0]
    assert how_to_replay(bare, replace(droplet, boot="docker"), cron=True) == ("", ())
