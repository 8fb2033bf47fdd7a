"""A deploy on a real droplet: what is recreated, what is kept, what is refused, and the way back."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.conftest import Droplet
from tests.jobs.deploy_project import COMPOSE, WHERE, Project, actions, project, result

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def deployed(session_droplet: Droplet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project, deployed once onto a droplet that had neither compose file nor container of it."""
    with project(session_droplet, tmp_path_factory.mktemp("deploy")) as made:
        yield made


def test_the_first_deploy_brings_everything_up_and_the_second_changes_nothing(deployed: Project) -> None:
    deployed.write(COMPOSE.replace("\n", "\r\n"))
    dry = deployed.deploy("--dry-run")
    assert dry["exit_code"] == 0, dry
    assert deployed.ids() == {} and deployed.droplet.sh(
        f"ls -A {WHERE} /dev/shm; ls -d /var/lib/opsctl || true"
    ).split() == [
        "/dev/shm:",
        f"{WHERE}:",
    ]
    real = deployed.deploy()
    assert real["exit_code"] == 0, real
    assert result(real)["changed"]["plan"] == result(dry)["changed"]["plan"], "the plan shown is the plan executed"
    assert set(deployed.ids()) == {"store", "app"}
    assert "\r" not in deployed.droplet.sh(f"cat {WHERE}/docker-compose.yml")
    assert "600" in deployed.droplet.sh(f"stat -c %a {WHERE}/app.env")
    deployed.stable()
    audit = deployed.droplet.sh("wc -l </var/lib/opsctl/audit.jsonl")
    again = deployed.deploy()
    assert result(again)["release"] == "" and result(again)["files"] == []
    assert {each["outcome"] for each in result(again)["changed"]["services"]} == {"unchanged"}
    assert deployed.droplet.sh("wc -l </var/lib/opsctl/audit.jsonl") == audit, "nothing to do takes no lease"


def test_only_what_changed_is_recreated_and_no_value_is_shown(deployed: Project) -> None:
    before = deployed.ids()
    deployed.write(COMPOSE.replace("64M", "70M"), env="KEY=two-two-two\nSECRET_KEY=other-secret\nNEW=3\n")
    document = deployed.deploy()
    assert document["exit_code"] == 0, document
    assert actions(document) == {"store": "recreate"}
    words = next(each["changes"] for each in result(document)["services"])
    assert words == ["env +NEW", "env ~KEY", "env ~SECRET_KEY", "memory limit 67 MB → 73 MB"]
    for secret in ("hush-hush-hush", "other-secret", "two-two-two"):
        assert secret not in json.dumps(document)
        assert secret not in deployed.droplet.sh("cat /var/lib/opsctl/runs/* /var/lib/opsctl/audit.jsonl")
    after = deployed.ids()
    assert after["store"] != before["store"] and after["app"] == before["app"]
    modes = deployed.droplet.sh(
        "find /var/lib/opsctl/releases -type f ! -perm 600; stat -c %a /var/lib/opsctl/releases"
    )
    assert modes.split() == ["700"]
    deployed.stable()


def test_a_mounted_file_that_changes_starts_its_service_anew_and_recreates_nothing(deployed: Project) -> None:
    before = deployed.ids()
    (deployed.here / "conf/app.conf").write_text("another\n")
    document = deployed.deploy()
    assert document["exit_code"] == 0 and actions(document) == {"store": "restart"}, document
    after = deployed.ids()
    assert after["store"].split()[0] == before["store"].split()[0] and after["store"] != before["store"]
    assert deployed.droplet.sh("docker exec mini-store-1 cat /conf/app.conf") == "another\n"
    deployed.stable()


def test_a_rollback_brings_files_and_image_back_although_the_tag_has_moved(deployed: Project) -> None:
    sh = deployed.droplet.sh
    old = sh("docker image inspect -f '{{.Id}}' tiny/app:1").strip()
    sh("docker tag devtools/caddy:2 tiny/app:1")
    try:
        deployed.write(COMPOSE.replace('"7001", --save, ""', '"7001"'))
        failed = deployed.deploy()
        # No redis in that image: the container cannot even be started.
        assert failed["exit_code"] in (1, 7), failed
        assert "opsctl rollback" in failed["droplets"][0]["error"]["next"]
        env = sh(f"cat {WHERE}/app.env")
        back = deployed.opsctl.json("rollback")
        assert back["exit_code"] == 0, back
        assert sh("docker image inspect -f '{{.Id}}' tiny/app:1").strip() == old
        assert sh("docker inspect -f '{{.Image}}' mini-app-1").strip() == old
        assert '"7001", --save' in sh(f"cat {WHERE}/docker-compose.yml")
        assert sh(f"cat {WHERE}/app.env") == env, "today's secrets stay"
        deployed.stable()
    finally:
        sh(f"docker tag {old} tiny/app:1")


def test_a_rollback_takes_back_an_edit_that_was_made_on_the_droplet(deployed: Project) -> None:
    sh = deployed.droplet.sh
    before = sh(f"cat {WHERE}/docker-compose.yml")
    sh(f"sed -i s/70M/72M/ {WHERE}/docker-compose.yml")
    there = deployed.opsctl.json("deploy")
    assert there["exit_code"] == 0 and actions(there) == {"store": "recreate"}, there
    back = deployed.opsctl.json("rollback")
    assert back["exit_code"] == 0 and actions(back) == {"store": "recreate"}, back
    assert sh(f"cat {WHERE}/docker-compose.yml") == before
    deployed.stable()
    # One that fails is taken back, too, and what was edited is kept.
    sh(f'sed -i \'s/"7001"/"nonsense"/\' {WHERE}/docker-compose.yml')
    edited = sh(f"cat {WHERE}/docker-compose.yml")
    failed = deployed.opsctl.json("deploy", "--rollback-on-failure")
    assert failed["exit_code"] == 7, failed
    assert sh(f"cat {WHERE}/docker-compose.yml") == before
    deployed.stable()
    kept = sh("grep -l nonsense /var/lib/opsctl/releases/*/blobs/*").split()
    assert edited in [sh(f"cat {each}") for each in kept], kept


def test_a_failed_gate_rolls_back_by_itself_when_asked(deployed: Project) -> None:
    good = deployed.droplet.sh(f"cat {WHERE}/docker-compose.yml")
    deployed.write(COMPOSE.replace('"7001"', '"nonsense"'))
    document = deployed.deploy("--rollback-on-failure")
    assert document["exit_code"] == 7, document
    assert "rolled back to" in document["droplets"][0]["error"]["what"]
    assert deployed.droplet.sh(f"cat {WHERE}/docker-compose.yml") == good
    assert deployed.droplet.running() == {"store", "app"}
    deployed.stable()
    listed = result(deployed.opsctl.json("releases", "list"))["releases"]
    assert [each["status"] for each in listed].count("begun") == 0 and sum(each["current"] for each in listed) == 1


def test_what_left_the_file_is_named_and_removed_only_when_asked(deployed: Project) -> None:
    without = COMPOSE[: COMPOSE.index("  app:")] + COMPOSE[COMPOSE.index("volumes: {data") :]
    deployed.write(without)
    document = deployed.deploy()
    assert document["exit_code"] == 0, document
    assert result(document)["orphans"] == ["app"] and deployed.droplet.running() == {"store", "app"}
    removed = deployed.deploy("--remove-orphans")
    assert removed["exit_code"] == 0 and deployed.droplet.running() == {"store"}, removed
    assert "mini_data" in deployed.droplet.sh("docker volume ls -q")
    listed = result(deployed.opsctl.json("releases", "list"))["releases"]
    first = next(each for each in listed if "app" in each["up"])
    back = deployed.opsctl.json("rollback", first["id"])
    assert back["exit_code"] == 0 and deployed.droplet.running() == {"store", "app"}, back


@pytest.mark.parametrize(
    ("compose", "code", "says"),
    [
        (
            COMPOSE.replace(
                "volumes: {data: {}}", "volumes: {data: {driver_opts: {type: none, o: bind, device: /srv}}}"
            ),
            1,
            "would have to be recreated",
        ),
        (COMPOSE.replace('"data:/data"', '"./fresh:/data"'), 1, "its data would be left behind"),
        (COMPOSE.replace("tiny/app:1", "tiny/missing:1"), 1, "is not on"),
        (COMPOSE.replace("name: mini", "name: other"), 3, "of project other"),
        (COMPOSE.replace("services:", "servces:"), 3, "compose rejects the file"),
    ],
    ids=["volume", "empty-bind", "image", "project", "invalid"],
)
def test_what_would_do_harm_is_refused_before_anything_is_touched(
    deployed: Project, compose: str, code: int, says: str
) -> None:
    deployed.droplet.sh("docker exec mini-store-1 sh -c 'echo x >/data/kept'")
    before = deployed.ids(), deployed.droplet.sh(f"find {WHERE} -type f | sort | xargs sha256sum")
    deployed.write(compose)
    done = deployed.opsctl("deploy", "--push", str(deployed.here))
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert (deployed.ids(), deployed.droplet.sh(f"find {WHERE} -type f | sort | xargs sha256sum")) == before


def test_a_deploy_removes_no_variable_unless_told_to(deployed: Project) -> None:
    deployed.write(env="KEY=two-two-two\nSECRET_KEY=other-secret\n")
    refused = deployed.opsctl("deploy", "--push", str(deployed.here / "app.env"))
    assert refused.returncode == 1 and "would remove NEW" in refused.stderr and "--remove-keys" in refused.stderr
    allowed = deployed.opsctl.json("deploy", "--push", str(deployed.here / "app.env"), "--remove-keys")
    assert allowed["exit_code"] == 0, allowed
    assert result(allowed)["files"][0]["removed"] == ["NEW"]


def test_env_set_and_unset_show_names_only_and_say_who_needs_a_deploy(deployed: Project) -> None:
    value = 'it\'s a "value" with $HOME and \\n'
    done = deployed.with_value(value, "env", "set", "TOKEN_OF_MINE")
    assert done.returncode == 0, done.stderr
    assert "used by, running: store\n" in done.stdout and value not in done.stdout + done.stderr
    shown = deployed.opsctl("env", "diff")
    assert "+ TOKEN_OF_MINE" in shown.stdout and value not in shown.stdout and "opsctl deploy" in shown.stdout
    assert deployed.opsctl("deploy").returncode == 0
    inside = deployed.droplet.sh("docker exec mini-store-1 sh -c 'printf %s \"$TOKEN_OF_MINE\"'")
    assert inside == value, "compose reads the value back as it was given"
    assert value not in deployed.droplet.sh("cat /var/lib/opsctl/runs/* /var/lib/opsctl/audit.jsonl")
    gone = deployed.opsctl.json("env", "unset", "TOKEN_OF_MINE")
    assert gone["exit_code"] == 0 and result(gone)["recreate"] == ["store"]
    assert "TOKEN_OF_MINE" not in deployed.droplet.sh(f"cat {WHERE}/app.env")
    nowhere = deployed.opsctl("env", "unset", "TOKEN_OF_MINE")
    assert nowhere.returncode == 2 and "TOKEN_OF_MINE is in no env file" in nowhere.stderr
    nobody = deployed.with_value(value, "env", "set", "TOKEN_OF_MINE", "--service", "nope")
    assert nobody.returncode == 2 and "there is no service nope" in nobody.stderr


def test_two_paths_that_lead_to_one_env_file_are_one(deployed: Project) -> None:
    sh = deployed.droplet.sh
    sh(f"ln -s app.env {WHERE}/.env")
    try:
        (each,) = deployed.opsctl.json("env", "diff")["droplets"][0]["result"]["files"]
        assert each["path"] == f"{WHERE}/app.env"
        assert deployed.with_value("1", "env", "set", "FRESH").returncode == 0
        assert sh(f"readlink {WHERE}/.env").strip() == "app.env" and "FRESH=1" in sh(f"cat {WHERE}/app.env")
        # By the other path, too.
        assert deployed.opsctl("env", "unset", "FRESH", "--file", f"{WHERE}/.env").returncode == 0
        assert "FRESH" not in sh(f"cat {WHERE}/app.env")
    finally:
        sh(f"rm -f {WHERE}/.env")


def test_of_a_file_whose_values_are_put_in_only_those_that_name_the_variable_use_it(deployed: Project) -> None:
    sh = deployed.droplet.sh
    before = sh(f"cat {WHERE}/docker-compose.yml")
    sh(f'echo PORT_OF_APP=7001 >{WHERE}/.env; sed -i \'s/"7001"/"$PORT_OF_APP"/\' {WHERE}/docker-compose.yml')
    try:
        named = deployed.with_value("7001", "env", "set", "PORT_OF_APP", "--file", ".env")
        assert "used by, running: app\n" in named.stdout, named.stdout + named.stderr
        nobodys = deployed.with_value("1", "env", "set", "FRESH", "--file", ".env")
        assert "no service takes FRESH from there" in nobodys.stdout and "used by" not in nobodys.stdout
    finally:
        sh(f'rm -f {WHERE}/.env; sed -i \'s/"$PORT_OF_APP"/"7001"/\' {WHERE}/docker-compose.yml')
    assert sh(f"cat {WHERE}/docker-compose.yml") == before


def test_the_pinned_images_survive_a_prune_and_only_five_releases_are_kept(deployed: Project) -> None:
    there = len(result(deployed.opsctl.json("releases", "list"))["releases"])
    for number in range(max(3, 6 - there)):  # so that there would be more than five, whichever tests ran before
        deployed.write(COMPOSE.replace("64M", f"{80 + number}M"))
        assert deployed.deploy()["exit_code"] == 0
    listed = result(deployed.opsctl.json("releases", "list"))["releases"]
    assert len(listed) == 5
    repositories = deployed.droplet.sh("docker image ls --format '{{.Repository}}' | grep ^opsctl-release/ | sort -u")
    assert set(repositories.split()) == {f"opsctl-release/{each['id']}" for each in listed}
    deployed.droplet.sh("docker image prune -f >/dev/null")
    for each in listed:
        for image in each["images"]:
            deployed.droplet.sh(f"docker image inspect {image['id']} >/dev/null")


def test_an_optional_service_that_is_slow_is_kept_with_the_release(deployed: Project) -> None:
    """As the sandbox's own: what is optional is still being recreated when the rest is proved."""
    late = """\
  late:
    image: devtools/redis:8
    command: [sh, -c, "sleep 2; exec redis-server --port 7002 --hz HZ --save ''"]
volumes:"""
    stack = deployed.stack.read_text()
    gate = '{phase: 2, optional: true, memory: 10MB, gate: {command: [redis-cli, -p, "7002", ping], within: 20s}}'
    deployed.stack.write_text(f"{stack}  late: {gate}\n")
    for hz in ("11", "12", "13"):
        deployed.write(COMPOSE.replace("volumes: {data", late.replace("HZ", hz) + " {data").replace("64M", f"{hz}0M"))
        done = deployed.deploy()
        assert done["exit_code"] == 0, done
        release = result(done)["release"]
        kept = deployed.droplet.sh(f"cut -f1 /var/lib/opsctl/releases/{release}/images | sort").split()
        assert kept == ["app", "late", "store"]
        assert f"hz {hz}" in deployed.droplet.sh("docker inspect -f '{{.Args}}' mini-late-1")
