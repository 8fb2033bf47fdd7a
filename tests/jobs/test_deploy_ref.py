"""A deploy from a git ref in the droplet's own checkout, and the way back."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Droplet
from tests.jobs.deploy_project import COMPOSE, WHERE, Project, project, result
from tests.jobs.test_deploy_users import as_user

pytestmark = pytest.mark.sandbox

SETUP = """
cd /opt && rm -rf mini.git other && git init -q --bare -b main mini.git && cd {where} && git init -q -b main .
git config user.email a@b; git config user.name a; printf '*.env\\n' >.gitignore; git add -A; git commit -qm first
git remote add origin /opt/mini.git && git push -q origin main
git clone -q /opt/mini.git /opt/other && cd /opt/other && git config user.email a@b && git config user.name a
sed -i s/64M/75M/ docker-compose.yml && git commit -qam second && git push -q origin main
"""


def bring_git(droplet: Droplet) -> None:
    """This machine's git, with the libraries it loads, where the droplet has none."""
    if "git" in droplet.sh("command -v git; true"):
        return
    program = shutil.which("git")
    if program is None:
        pytest.skip("git is installed neither here nor on the droplet")
    files = {"usr/local/bin/git": Path(program).resolve()}
    for library in re.findall(r"=> (/\S+)", subprocess.run(["ldd", program], capture_output=True, text=True).stdout):
        if "libc.so" not in library:
            files[f"usr/local/lib/{Path(library).name}"] = Path(library).resolve()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, source in files.items():
            tar.add(source, name)
    done = subprocess.run([*droplet.ssh, "tar -x -C / -f -"], input=buffer.getvalue(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    link = "for each in upload-pack receive-pack; do ln -sf git /usr/local/bin/git-$each; done; ldconfig"
    shown = droplet.sh(f"{link}; git --version 2>&1; true")
    if "git version" not in shown:
        pytest.skip(f"this machine's git does not run on the droplet: {shown}")


@pytest.fixture(scope="module")
def cloned(session_droplet: Droplet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project as a checkout on the droplet, one commit behind its remote, deployed."""
    bring_git(session_droplet)
    with project(session_droplet, tmp_path_factory.mktemp("ref")) as made:
        made.write(COMPOSE)
        assert made.deploy()["exit_code"] == 0
        made.droplet.sh(SETUP.format(where=WHERE))
        yield made
        made.droplet.sh("rm -rf /opt/mini.git /opt/other")


def test_a_ref_is_looked_at_without_a_trace_checked_out_and_taken_back(cloned: Project) -> None:
    sh = cloned.droplet.sh
    state = f"cd {WHERE}; git rev-parse HEAD; git count-objects; git for-each-ref; git status --porcelain"
    before = sh(state)
    dry = cloned.opsctl.json("deploy", "--ref", "main", "--dry-run")
    assert [each["service"] for each in result(dry)["services"]] == ["store"], dry
    assert sh(state) == before, "a look fetched into the checkout"

    done = cloned.opsctl.json("deploy", "--ref", "main")
    assert done["exit_code"] == 0, done
    assert result(done)["changed"]["plan"]["id"] == result(dry)["changed"]["plan"]["id"]
    assert "75M" in sh(f"cat {WHERE}/docker-compose.yml") and not sh(f"cd {WHERE}; git status --porcelain").strip()
    cloned.stable()
    assert result(cloned.opsctl.json("deploy", "--ref", "main"))["release"] == ""

    back = cloned.opsctl.json("rollback")
    assert back["exit_code"] == 0 and "64M" in sh(f"cat {WHERE}/docker-compose.yml"), back
    again = cloned.opsctl.json("deploy", "--ref", "main")
    assert again["exit_code"] == 0 and "75M" in sh(f"cat {WHERE}/docker-compose.yml"), again


@pytest.mark.parametrize(
    ("change", "ref", "says"),
    [
        (f"echo '# mine' >>{WHERE}/docker-compose.yml", "main", "changes that are not committed"),
        ("true", "nosuch", "nosuch"),
        (f"mv {WHERE}/.git {WHERE}/.away", "main", "not in a git checkout"),
    ],
    ids=["dirty", "unknown", "no-checkout"],
)
def test_a_ref_that_cannot_be_had_is_said_and_nothing_is_touched(
    cloned: Project, change: str, ref: str, says: str
) -> None:
    ids = cloned.ids()
    cloned.droplet.sh(change)
    try:
        done = cloned.opsctl("deploy", "--ref", ref)
    finally:
        cloned.droplet.sh(f"cd {WHERE}; [ ! -d .away ] || mv .away .git; git checkout -q .")
    assert done.returncode == 1 and says in done.stderr, done.stderr
    assert cloned.ids() == ids


def test_a_user_with_sudo_leaves_a_checkout_of_their_own_to_themselves(cloned: Project) -> None:
    """git runs as root there, and what it writes would be root's."""
    sh = cloned.droplet.sh
    ours = f"find {WHERE} -not -user alex"
    sh(f"chown -R alex: {WHERE}; cd {WHERE}; git -c safe.directory='*' checkout -q -f --detach main")
    sh(f"chown -R alex: {WHERE}")
    try:
        mine = as_user(cloned, "alex")
        done = mine.opsctl.json("deploy", "--ref", "main")
        assert done["exit_code"] == 0 and "75M" in sh(f"cat {WHERE}/docker-compose.yml"), done
        assert not sh(ours)
        back = mine.opsctl.json("rollback")
        assert back["exit_code"] == 0 and "64M" in sh(f"cat {WHERE}/docker-compose.yml"), back
        assert not sh(ours)
    finally:
        sh(f"chown -R root: {WHERE}")
