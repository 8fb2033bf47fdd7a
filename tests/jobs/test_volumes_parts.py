"""The parts of a volume's move: the compose file's one entry, what is refused, and the copying with a real tar."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tests.jobs.test_deploy_plan import survey

from opsctl.jobs.volumes_edit import diff, with_source
from opsctl.jobs.volumes_find import Wish, volume_name
from opsctl.jobs.volumes_look import library, record_of
from opsctl.jobs.volumes_refuse import check_path, refuse_space, refuse_target
from opsctl.model.errors import OpsError, UsageError
from opsctl.model.volumes import Place, Record, VolumeFacts

COMPOSE = """\
services:
  postgres:  # the store
    image: postgres:17
    volumes: ["pg:/var/lib/postgresql/data", './conf:/conf:ro']
  backup:
    volumes:
      - pg:/data:ro   # reads only
      - type: volume
        source: pg
        target: /more
  other:
    volumes: [pgx:/data, "${PLACE}:/more"]
volumes:
  pg:
  pgx: {}
"""
FOLDER = "/opt/data/pg"


def test_only_the_mounts_of_the_volume_change_and_back_is_the_same_text_again() -> None:
    there = with_source(COMPOSE, ("postgres", "backup"), "pg", FOLDER)
    assert there is not None
    changed = [line[1:].strip() for line in diff("f", COMPOSE, there) if line[:1] == "+" and line[:3] != "+++"]
    assert changed == [
        f"volumes: [\"{FOLDER}:/var/lib/postgresql/data\", './conf:/conf:ro']",
        f"- {FOLDER}:/data:ro   # reads only",
        "- type: bind",
        f"source: {FOLDER}",
    ]
    assert with_source(there, ("postgres", "backup"), FOLDER, "pg") == COMPOSE


@pytest.mark.parametrize(
    "text",
    [
        "services: {a: {volumes: [{type: volume, source: pg, target: /x, volume: {nocopy: true}}]}}",
        "services: {a: {volumes: [{source: pg, target: /x}]}}",
        "services: {a: {volumes: ['${PG:-pg}:/x']}}",
        'services: {a: {volumes: ["p\\x67:/x"]}}',
        "services: [",
        "services: {b: {volumes: [pg:/x]}}",
    ],
)
def test_what_cannot_be_changed_in_place_is_left_to_its_author(text: str) -> None:
    assert with_source(text, ("a",), "pg", FOLDER) is None


@pytest.mark.parametrize("path", ["", "data", "/", "/data", "/opt/../etc", "/opt/a b", "/opt/a:b", "/opt/$X/a"])
def test_no_folder_that_yaml_or_a_shell_would_read_otherwise(path: str) -> None:
    with pytest.raises(UsageError):
        check_path(path)


def facts(record: Record | None, host: Place) -> VolumeFacts:
    inside = Place("/var/lib/docker/volumes/s_pg/_data", True, True, False, "1:2", size=10_000_000_000, files=10)
    return VolumeFacts(record, True, "local", {}, inside, host, (), True, ())


def test_a_folder_with_data_is_taken_only_where_it_is_our_own_unfinished_copy() -> None:
    full = Place(FOLDER, True, True, False, "1:7")
    wish = Wish("pg", "s_pg", FOLDER)
    refuse_target(facts(None, Place(FOLDER)), wish)
    refuse_target(facts(None, Place(FOLDER, True, True)), wish)
    refuse_target(facts(Record("s_pg", FOLDER, "copying", folder="1:7"), full), wish)
    for record in (
        None,
        Record("s_pg", FOLDER, "copying", folder="1:8"),  # another folder was put there
        Record("s_pg", "/opt/data/other", "copying", folder="1:7"),
        Record("s_pg", FOLDER, "moved", folder="1:7"),  # it has been in use since
    ):
        with pytest.raises(OpsError) as caught:
            refuse_target(facts(record, full), wish)
        assert caught.value.info.code == "not-empty"


def test_what_does_not_fit_is_refused_and_what_is_there_already_counts() -> None:
    source = Place("/a", True, True, False, size=10_000_000_000, files=10)
    with pytest.raises(OpsError, match="does not fit"):
        refuse_space(source, Place(FOLDER, free=9_000_000_000))
    refuse_space(source, Place(FOLDER, True, True, False, size=8_000_000_000, free=3_000_000_000))
    with pytest.raises(OpsError, match="9 files"):
        refuse_space(source, Place(FOLDER, free=20_000_000_000, free_files=9))


def test_a_record_is_read_as_it_was_written() -> None:
    record = Record("s_pg", FOLDER, "moved", "ab", "2026-01-01T00:00:00Z", "root")
    assert record_of(f"{record.lines()}\nfolder 1:7\n") == replace(record, folder="1:7")
    assert record_of("") is None and record_of("phase moved\n") is None and record_of("phase no\npath /a/b\n") is None


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("tar") is None, reason="owners are root's to give")
def test_two_passes_bring_everything_over_whatever_changes_between_them(tmp_path: Path) -> None:
    source, target, work = tmp_path / "source", tmp_path / "new/target", tmp_path / "work"
    odd = source / "odd\nname"
    odd.mkdir(parents=True)
    (odd / "x\ty %20").write_text("deep")
    for number in range(40):
        (source / f"f{number}").write_bytes(os.urandom(1000 + number))
    (source / "f0").chmod(0o4755)
    os.chown(source / "f1", 70, 71)
    os.link(source / "f1", source / "hard")
    (source / "link").symlink_to("to where")
    with (source / "sparse").open("wb") as file:
        file.truncate(50_000_000)
    source.chmod(0o700)
    run(
        work,
        f'claim {target} "" "phase copying" {target}; copy {source} {target} first; '
        f"sums {source} volume first; sums {target} host first",
    )
    before = (source / "f2").stat()
    (source / "f2").write_bytes(os.urandom(before.st_size))
    os.utime(source / "f2", ns=(before.st_atime_ns, before.st_mtime_ns))  # looks as before, and is not
    shutil.rmtree(odd)
    (source / "f3").unlink()
    (source / "f3").mkdir()
    (source / "f3/inside").write_text("a folder now")
    (source / "new").write_text("new")
    said = run(work, f"claim {target} ours 'phase copying' {target}; prove {source} volume {target} host")
    sides = [line.split()[2:] for line in said.splitlines() if line.startswith("@@side")]
    assert len(sides) == 2 and sides[0] == sides[1] and "@@differ 1" in said
    assert listing(source) == listing(target)
    assert subprocess.run(["diff", "-r", "--no-dereference", str(source), str(target)], check=False).returncode == 0
    assert (target / "sparse").stat().st_blocks * 512 < 1_000_000
    assert (work / "record").read_text().splitlines()[-1] == f"folder {target.stat().st_dev}:{target.stat().st_ino}"


@pytest.mark.skipif(os.geteuid() != 0, reason="owners are root's to give")
def test_a_digest_is_believed_only_of_a_file_that_nobody_has_touched_since(tmp_path: Path) -> None:
    work, folder = tmp_path / "work", tmp_path / "folder"
    folder.mkdir()
    work.mkdir()
    for name in ("a", "b"):
        (folder / name).write_text(name)
    asked = f"sleep 0.05; sums {folder} volume last"
    assert "@@unread volume 2" in run(work, asked)
    first = (work / "volume.sums").read_text()
    assert "@@unread volume 0" in run(work, asked)
    assert (work / "volume.sums").read_text() == first
    (folder / "a").write_text("c")
    assert "@@unread volume 1" in run(work, asked)
    assert (work / "volume.sums").read_text() != first


def listing(folder: Path) -> list[str]:
    form = "%y %m %U %G %s %P %l\\n"
    found = subprocess.run(["find", str(folder), "!", "-type", "d", "-printf", form], capture_output=True, text=True)
    folders = subprocess.run(
        ["find", str(folder), "-type", "d", "-printf", "%m %U %G %P\\n"], capture_output=True, text=True
    )
    return sorted([*found.stdout.splitlines(), *folders.stdout.splitlines()])


def run(work: Path, text: str) -> str:
    script = f"{library()}\nwork=$1\n{text}\n"
    done = subprocess.run(["bash", "-c", script, "x", str(work)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("given", "meant", "folder"),
    [("p_pg", "pg", "pg"), ("db", "pg", "db"), ("nonsense", "logs", "nonsense")],
    ids=["as the engine calls it", "its service", "neither"],
)
def test_the_volume_that_was_meant_is_in_the_next_command(given: str, meant: str, folder: str) -> None:
    mounted = {"db": {"volumes": [{"type": "volume", "source": "pg", "target": "/data"}]}}
    found = survey(model={"services": mounted, "volumes": {"logs": {}, "pg": {}}})
    assert volume_name(found, "pg") == f"{found.facts.project}_pg"
    with pytest.raises(UsageError) as caught:
        volume_name(found, given.replace("p_", f"{found.facts.project}_"))
    assert caught.value.info.next == f"opsctl migrate volumes-to-host {meant} --to /opt/stack/data/{folder}"
