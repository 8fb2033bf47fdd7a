"""The boot hold, run by the real bash on a folder of this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

from opsctl.model.ports import Script
from opsctl.spine import hold


def run(script: Script) -> str:
    done = subprocess.run(
        ["bash", "-c", script.text, "bash", *script.args], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def read(folder: Path) -> hold.Hold | None:
    return hold.parse(run(hold.read(str(folder))))


def test_a_hold_is_seen_until_it_is_lifted(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    run(hold.place(str(tmp_path), "20261120T1-aaa", "recover:\nup to `reboot` $x", 90.2))
    found = read(tmp_path)
    assert found is not None
    assert (found.run_id, found.reason) == ("20261120T1-aaa", "recover: up to `reboot` $x")
    assert 80 <= found.left <= 91
    run(hold.lift(str(tmp_path), "20261120T1-aaa"))
    assert read(tmp_path) is None and not (tmp_path / "hold").exists()
    run(hold.lift(str(tmp_path), "20261120T1-aaa"))


def test_the_longest_counts_and_another_run_lifts_only_its_own(tmp_path: Path) -> None:
    run(hold.place(str(tmp_path), "one", "a", 100))
    run(hold.place(str(tmp_path), "two", "b", 500))
    run(hold.lift(str(tmp_path), "one"))
    found = read(tmp_path)
    assert found is not None and found.run_id == "two"


def edited(folder: Path, boot: str, up: int, clock: int, seconds: int) -> hold.Hold | None:
    (folder / "hold").mkdir(exist_ok=True)
    (folder / "hold" / "r").write_text(f"{boot} {up} {clock} {seconds}\nwhy\n")
    return read(folder)


def test_it_ends_by_itself_in_its_own_boot_and_in_a_later_one(tmp_path: Path) -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    up = int(float(Path("/proc/uptime").read_text().split()[0]))
    clock = int(subprocess.run(["date", "+%s"], capture_output=True, text=True, check=True).stdout)
    assert edited(tmp_path, boot, up - 50, clock, 40) is None, "over, by uptime"
    assert edited(tmp_path, boot, up - 10, clock - 10**6, 400) is not None, "the clock says nothing in the same boot"
    other = edited(tmp_path, "another", 10**7, clock - 100, up + 900)
    assert other is not None and 800 <= other.left <= 900, "counted from the later boot on"
    assert edited(tmp_path, "another", 5, clock - 10**6, up + 900) is None, "of long ago"
    assert edited(tmp_path, "another", 5, clock + 10**6, up + 900) is not None, "a clock put back ends nothing"
    (tmp_path / "hold" / "r").write_text("garbage\n")
    assert read(tmp_path) is None
