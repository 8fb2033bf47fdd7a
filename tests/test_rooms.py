"""The rooms of the house: who may import whom, where vendors live, who prints, and how large a file may grow."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "opsctl"
FILES = sorted(SOURCE.rglob("*.py"))

ALLOWED: dict[str, set[str]] = {
    "model": set(),
    "spine": {"model"},
    "jobs": {"spine", "model"},
    "hosts": {"model"},
    "docker": {"model"},
    "cloud": {"model"},
    "stores": {"model"},
    "render": {"model"},
    "sandbox": {"hosts", "docker", "model"},
    "cli": {"jobs", "spine", "model", "render", "sandbox"},
}
VENDORS: dict[str, set[str]] = {
    "paramiko": {"hosts"},
    "docker": {"docker"},
    "psycopg": {"stores"},
    "redis": {"stores"},
    "qdrant_client": {"stores"},
    "weaviate": {"stores"},
    "httpx": {"cloud", "stores"},
    "fastembed": {"stores"},
    "cryptography": {"stores", "sandbox"},
    "onnxruntime": {"stores"},
    "tokenizers": {"stores"},
    "rich": {"render"},
    "typer": {"cli"},
}
ADAPTERS = {"hosts", "docker", "cloud", "stores"}
BUILDS_ADAPTERS = {"cli/context.py", "cli/stores.py"}
LONGEST = 350


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0]


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            yield node.module or "", node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def rooms_imported(path: Path) -> Iterator[tuple[str, str]]:
    for name, line in imports(ast.parse(path.read_text())):
        parts = name.split(".")
        if parts[0] == "opsctl" and len(parts) > 1 and (SOURCE / parts[1]).is_dir():
            yield parts[1], f"{path.relative_to(SOURCE)}:{line} imports {name}"


@pytest.mark.parametrize("path", [p for p in FILES if p.parent != SOURCE], ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_follow_the_arrows(path: Path) -> None:
    own = room(path)
    allowed = ALLOWED[own] | {own}
    if str(path.relative_to(SOURCE)) in BUILDS_ADAPTERS:
        allowed |= ADAPTERS
    wrong = [text for there, text in rooms_imported(path) if there not in allowed]
    assert not wrong


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_vendors_stay_in_the_room_that_adapts_them(path: Path) -> None:
    for name, line in imports(ast.parse(path.read_text())):
        rooms = VENDORS.get(name.split(".")[0])
        assert rooms is None or path.parent == SOURCE or room(path) in rooms, f"line {line} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_file_is_one_thought(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST


def test_help_imports_no_vendor_and_no_adapter() -> None:
    code = (
        "import sys; sys.argv = ['opsctl', '--help']\n"
        "from opsctl.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit: pass\n"
        "print('\\n'.join(sorted(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stderr.splitlines()}
    vendors = {"paramiko", "docker", "psycopg", "redis", "qdrant_client", "weaviate", "httpx", "tenacity", "ruamel"}
    assert not loaded & vendors
    assert not [name for name in done.stderr.splitlines() if name.startswith("opsctl.jobs.")]
