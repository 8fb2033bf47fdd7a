"""Playbooks and SQL are found from an editable install, from a wheel, and from a wheel made of the sdist."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from opsctl.model import assets

ROOT = Path(__file__).parent.parent.parent
LISTING = (
    "from opsctl.model import assets\n"
    "print(assets.__file__)\n"
    "for kind in ('playbooks', 'sql'):\n"
    "    print('\\n'.join(f'{kind}/{name}' for name in assets.names(kind)))\n"
)


def in_checkout() -> list[str]:
    found = [path for kind in ("playbooks", "sql") for path in (ROOT / kind).rglob("*") if path.is_file()]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A wheel of the tree, and a wheel of its sdist."""
    made = {}
    for name, options in {"tree": ["--wheel"], "sdist": []}.items():
        folder = tmp_path_factory.mktemp(name)
        argv = [sys.executable, "-m", "build", *options, "--outdir", str(folder), str(ROOT)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=280)
        if (
            done.returncode != 0
            and "hatchling" in done.stdout + done.stderr
            and "No matching" in done.stdout + done.stderr
        ):
            pytest.skip("hatchling cannot be had: no package index answers")
        assert done.returncode == 0, done.stdout + done.stderr
        made[name] = next(folder.glob("*.whl"))
    return made


@pytest.mark.parametrize("made_of", ["tree", "sdist"])
def test_a_wheel_carries_them(made_of: str, wheels: dict[str, Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(wheels[made_of]) as wheel:
        wheel.extractall(tmp_path)  # what installing does with a pure wheel
    argv = [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{LISTING}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=tmp_path)
    where, *listed = done.stdout.split()
    assert where.startswith(str(tmp_path))
    assert sorted(listed) == in_checkout()
    assert listed


def test_an_editable_install_reads_the_checkout() -> None:
    done = subprocess.run([sys.executable, "-c", LISTING], capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()[1:]) == in_checkout()


def test_the_stacks_own_file_hides_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "README.md").write_text("mine")
    (tmp_path / "playbooks" / "extra.yaml").write_text("more")
    assert assets.find("playbooks", "README.md", tmp_path) == tmp_path / "playbooks" / "README.md"
    assert "extra.yaml" in assets.names("playbooks", tmp_path)
    assert assets.names("playbooks", tmp_path).count("README.md") == 1
    assert assets.find("sql", "README.md", tmp_path) == ROOT / "sql" / "README.md"


@pytest.mark.parametrize("name", ["../pyproject.toml", "/etc/passwd", "no-such-file", ""])
def test_nothing_outside_the_folders_is_found(name: str, tmp_path: Path) -> None:
    assert assets.find("sql", name, tmp_path) is None


def test_a_link_that_leads_out_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "sql" / "link.sql").symlink_to(tmp_path / "secret")
    assert assets.find("sql", "link.sql", tmp_path) is None
