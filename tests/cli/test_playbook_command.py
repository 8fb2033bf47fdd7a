"""`opsctl playbook` where nothing is connected: listing, showing, and what is typed wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import Opsctl

ROOT = Path(__file__).parent.parent.parent
SHIPPED = [
    "deploy-and-validate",
    "qdrant-to-cloud",
    "reboot-recovery",
    "remove-observability",
    "selective-startup",
    "weaviate-first",
]


def test_every_shipped_playbook_is_listed_and_shown(opsctl: Opsctl) -> None:
    listed = opsctl.json("playbook", "list")["droplets"][0]["result"]
    assert [each["name"] for each in listed["playbooks"]] == SHIPPED
    assert listed["runs"] is None
    for name in SHIPPED:
        shown = opsctl.json("playbook", "show", name)
        assert (shown["exit_code"], shown["droplets"][0]["result"]["name"]) == (0, name)
        assert name in opsctl("playbook", "show", name).stdout


def test_the_stacks_own_hides_a_shipped_one_and_a_wrong_one_is_listed_with_its_reason(opsctl: Opsctl) -> None:
    assert opsctl.folder is not None
    (opsctl.folder / "opsctl.yaml").write_text("version: 1\ndroplets: {d: {address: nowhere.invalid}}\n")
    own = opsctl.folder / "playbooks"
    own.mkdir()
    (own / "selective-startup.yaml").write_text("version: 1\ntitle: Mine\nsteps: [{id: a, job: startup}]\n")
    (own / "broken.yaml").write_text("version: 1\ntitle: T\nsteps:\n  - {id: a, job: startp}\n")
    listed = {each["name"]: each for each in opsctl.json("playbook", "list")["droplets"][0]["result"]["playbooks"]}
    assert listed["selective-startup"]["title"] == "Mine"
    assert listed["broken"]["problem"] == 'steps[0].job: there is no job startp (did you mean "startup"?) (line 4)'
    assert "there is no job startp" in opsctl("playbook", "list").stdout
    refused = opsctl("playbook", "run", "broken")
    assert (refused.returncode, "broken.yaml:4" in refused.stderr) == (3, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("show", "selectiv-startup"), 'did you mean "selective-startup"?'),
        (("run", "nothing"), "opsctl playbook list"),
        (("run", "selective-startup", "--var", "all"), "no value"),
        (("run", "selective-startup", "--var", "all=x"), "is not a whole number"),
        (("run", "selective-startup", "--var", "al=3"), 'did you mean "all"?'),
    ],
)
def test_what_is_typed_wrong_is_a_usage_error(opsctl: Opsctl, words: tuple[str, ...], says: str) -> None:
    done = opsctl("playbook", *words)
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr


def test_the_packages_copy_is_found_where_there_is_no_checkout(tmp_path: Path) -> None:
    """What force-include puts into a wheel; tests/model/test_assets.py builds real ones, from tree and sdist."""
    site = tmp_path / "site"
    for part, name in ((ROOT / "src" / "opsctl", "opsctl"), (ROOT / "playbooks", "opsctl/playbooks")):
        subprocess.run(["mkdir", "-p", str((site / name).parent)], check=True)
        subprocess.run(["cp", "-r", str(part), str(site / name)], check=True)
    code = f"import sys; sys.path.insert(0, {str(site)!r}); sys.argv = ['opsctl', 'playbook', 'list', '--json']\n"
    code += "from opsctl.cli.main import run; run()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert [name for name in SHIPPED if f'"name": "{name}"' in done.stdout] == SHIPPED
    assert str(site / "opsctl" / "playbooks") in done.stdout or '"site/opsctl/playbooks' in done.stdout
