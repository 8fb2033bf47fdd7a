"""A variable that breaks a service, on a real droplet: status, the offers after the failure, and the way back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.conftest import Droplet
from tests.jobs.deploy_project import COMPOSE, WHERE, Project, project, result

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def running(session_droplet: Droplet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project runs, and opsctl has not kept a release of it; the port of `app` is a variable of .env."""
    with project(session_droplet, tmp_path_factory.mktemp("deploy-env")) as made:
        made.write(COMPOSE.replace('"7001"', '"$APP_PORT"'))
        (made.here / ".env").write_text("APP_PORT=7001\n")
        first = made.deploy()
        assert first["exit_code"] == 0, first
        made.droplet.sh("rm -rf /var/lib/opsctl")
        yield made


def port(made: Project, value: str) -> None:
    done = made.with_value(value, "env", "set", "APP_PORT")
    assert done.returncode == 0, done.stderr


def deploy_badly(made: Project) -> str:
    """What a deploy offers that took a value with which `app` does not pass its gate."""
    port(made, "7009")
    failed = made.opsctl.json("deploy")
    assert failed["exit_code"] == 7, failed
    assert "cannot be brought back" not in str(result(failed)["changed"]["notes"])
    return str(failed["droplets"][0]["error"]["next"])


def test_the_value_of_before_is_kept_and_status_knows_the_release_that_is_not_finished(running: Project) -> None:
    port(running, "7009")
    (kept,) = result(running.opsctl.json("releases", "list"))["releases"]
    assert kept["current"] and kept["source"] == "what was there" and f"{WHERE}/.env" in kept["moved_env"]
    before = running.opsctl("status", "--check")
    assert before.returncode == 0 and "opsctl deploy   # when it suits you" in before.stdout, before.stdout
    assert "opsctl rollback --with-env   # goes back" in deploy_badly(running)
    # Nothing of phase 2 runs, and so nothing of it would be missed but for the release.
    after = running.opsctl("status", "--check")
    assert after.returncode == 7 and "✓" not in after.stdout, after.stdout
    said = after.stdout.splitlines()
    newest = result(running.opsctl.json("releases", "list"))["releases"][0]
    assert newest["status"] == "begun"
    line = said.index(f"✗ release {newest['id']} is not finished: app does not run")
    assert "opsctl deploy --resume" in said[line + 1] and "opsctl rollback" in said[line + 2]
    assert "docker compose" not in after.stdout
    # While somebody has the lease, it is being brought in: nothing to go on with, or back from.
    running.droplet.sh("setsid -f flock -o /var/lib/opsctl/lease/stack.lock sleep 120 >/dev/null 2>&1 </dev/null")
    try:
        busy = running.opsctl("status").stdout
    finally:
        running.droplet.sh("pkill -x flock")
    assert f"! release {newest['id']} is being brought in right now" in busy and "--resume" not in busy, busy
    # As it says: with the value mended, the same deploy goes on.
    port(running, "7001")
    resumed = running.opsctl("deploy", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    well = running.opsctl("status", "--check")
    assert well.returncode == 0 and "✓" in well.stdout and "not finished" not in well.stdout


def test_a_rollback_says_which_variables_stay_and_with_env_brings_them_back(running: Project) -> None:
    offered = deploy_badly(running)
    assert "opsctl rollback --with-env   # goes back" in offered
    plain = running.opsctl("rollback", "--dry-run")
    assert "env files stay as they are today: APP_PORT (--with-env brings those of then)" in plain.stdout
    assert "7009" not in plain.stdout, "names, no values"
    assert "env files stay" not in running.opsctl("rollback", "--with-env", "--dry-run").stdout
    # Without them it is as bad as before; the status then goes on with the rollback, not with the deploy.
    assert running.opsctl("rollback").returncode == 7
    said = running.opsctl("status")
    assert "the rollback to release" in said.stdout and "opsctl rollback   # goes on" in said.stdout
    back = running.opsctl.json("rollback", "--with-env")
    assert back["exit_code"] == 0, back
    assert "APP_PORT=7001" in running.droplet.sh(f"cat {WHERE}/.env")
    assert running.droplet.running() == {"store", "app"}
    assert running.opsctl("status", "--check").returncode == 0
    running.stable()
