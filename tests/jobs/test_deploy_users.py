"""Deploys of users who are not root: it works, or it is refused before anything is changed, with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.conftest import Droplet
from tests.jobs.deploy_project import COMPOSE, WHERE, Project, project, result

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(300)]

# In the group docker, and with sudo: the socket can be used, so nothing is run as root.
_OPS = """
id ops >/dev/null 2>&1 || useradd -m -s /bin/bash -G docker ops
echo 'ops ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops; chmod 440 /etc/sudoers.d/ops
"""
_NO_OPS = "rm -f /etc/sudoers.d/ops; userdel -rf ops 2>/dev/null"
_STATE = "install -d -m 2775 -g docker /var/lib/opsctl /var/lib/opsctl/lease /var/lib/opsctl/runs"


@pytest.fixture
def fresh(droplet: Droplet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project, of which nothing is on the droplet; `ops` can log in there."""
    droplet.sh(_OPS)
    try:
        with project(droplet, tmp_path_factory.mktemp("users")) as made:
            made.write()
            yield made
    finally:
        droplet.sh(_NO_OPS, check=False)


def as_user(made: Project, user: str, *, sudo: str = "auto") -> Project:
    text = made.stack.read_text().replace("root@127", f"{user}@127")
    text = text.replace(f"    compose: {WHERE}", f"    docker: {{sudo: {sudo}}}\n    compose: {WHERE}")
    file = made.stack.with_name(f"{user}-{sudo}.yaml")
    file.write_text(text)
    environment = {**made.opsctl.environment, "OPSCTL_STACK": str(file)}
    return replace(made, stack=file, opsctl=replace(made.opsctl, environment=environment))


def owners(droplet: Droplet) -> set[str]:
    return set(droplet.sh(f"find {WHERE} -printf '%u\\n'").split())


@pytest.mark.parametrize(
    ("user", "owner", "prepared"),
    [("alex", "root", "true"), ("alex", "alex", "true"), ("ops", "ops", _STATE)],
    ids=["sudo-roots-folder", "sudo-own-folder", "group-own-folder"],
)
def test_a_deploy_and_the_way_back_leave_the_files_to_whom_the_folder_is(
    fresh: Project, user: str, owner: str, prepared: str
) -> None:
    fresh.droplet.sh(f"{prepared}; chown {owner}: {WHERE}")
    mine = as_user(fresh, user)
    first = mine.deploy()
    assert first["exit_code"] == 0, first
    assert set(mine.ids()) == {"store", "app"}
    assert owners(fresh.droplet) == {owner}
    assert "600" in fresh.droplet.sh(f"stat -c %a {WHERE}/app.env")
    same = mine.deploy()
    assert result(same)["files"] == [] and result(same)["release"] == ""
    mine.write(COMPOSE.replace("64M", "70M"), env="KEY=two\nSECRET_KEY=hush-hush-hush\n")
    assert mine.deploy()["exit_code"] == 0
    back = mine.opsctl.json("rollback", "--with-env")
    assert back["exit_code"] == 0, back
    assert fresh.droplet.sh(f"cat {WHERE}/app.env").startswith("KEY=one")
    assert "64M" in fresh.droplet.sh(f"cat {WHERE}/docker-compose.yml")
    assert owners(fresh.droplet) == {owner}


def test_a_folder_of_roots_is_refused_to_who_uses_the_socket_before_anything_is_changed(fresh: Project) -> None:
    fresh.droplet.sh(_STATE)
    mine = as_user(fresh, "ops")
    refused = mine.deploy()
    (each,) = refused["droplets"]
    assert (refused["exit_code"], each["error"]["code"]) == (1, "not-writable"), each
    assert each["error"]["what"].startswith(f"ops may not write {WHERE} on ")
    assert "docker: {sudo: always}" in each["error"]["next"]
    assert mine.ids() == {}
    left = fresh.droplet.sh(f"ls -A {WHERE}; find /var/lib/opsctl -type f")
    assert left == "", "neither a file nor a release nor a line of the audit"
    # What was said to do does it.
    assert as_user(fresh, "ops", sudo="always").deploy()["exit_code"] == 0


def test_a_secret_that_may_not_be_read_could_not_be_put_back_and_is_refused(fresh: Project) -> None:
    assert fresh.deploy()["exit_code"] == 0
    fresh.droplet.sh(
        f"chown ops: {WHERE} {WHERE}/conf; chown -R root:docker /var/lib/opsctl; chmod -R g+rwX /var/lib/opsctl"
    )
    before = fresh.ids()
    mine = as_user(fresh, "ops")
    mine.write(env="KEY=three\nSECRET_KEY=hush-hush-hush\n")
    refused = mine.deploy()
    (each,) = refused["droplets"]
    assert each["error"]["code"] == "not-writable"
    assert each["error"]["what"].startswith(f"ops may not write {WHERE}/app.env on ")
    assert fresh.ids() == before


def test_who_may_not_write_opsctls_own_folder_is_told_both_ways(fresh: Project) -> None:
    fresh.droplet.sh(f"chown ops: {WHERE}")
    refused = as_user(fresh, "ops").deploy()
    (each,) = refused["droplets"]
    assert each["error"]["code"] == "state-folder"
    assert "docker: {sudo: always}" in each["error"]["next"] and "install -d -m 2775" in each["error"]["next"]
    assert fresh.droplet.sh(f"ls -A {WHERE}") == ""
