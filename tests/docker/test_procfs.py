"""/proc as text."""

from __future__ import annotations

from opsctl.docker.procfs import (
    daemon_groups,
    parse_meminfo,
    parse_pressure,
    parse_processes,
    parse_vmstat,
    program_groups,
    unit_groups,
)

ROLLUPS = """/proc/10/smaps_rollup:Pss:               94000 kB
/proc/10/smaps_rollup:Pss_Dirty:         41000 kB
/proc/10/smaps_rollup:Pss_Anon:          40000 kB
/proc/10/smaps_rollup:SwapPss:               8 kB
/proc/20/smaps_rollup:Pss:                4000 kB
/proc/20/smaps_rollup:Pss_Anon:           3000 kB
/proc/21/smaps_rollup:Pss:                4000 kB
/proc/21/smaps_rollup:Pss_Anon:           3000 kB
/proc/30/smaps_rollup:Pss:                 900 kB
/proc/30/smaps_rollup:Pss_Anon:            500 kB"""
COMMS = """/proc/2/comm:kworker/0:1
/proc/10/comm:dockerd
/proc/20/comm:containerd-shim
/proc/21/comm:containerd-shim
/proc/30/comm:a: b"""


def test_meminfo_in_bytes() -> None:
    seen = parse_meminfo("MemTotal:        2097152 kB\nHugePages_Total:       3\nbroken\n")
    assert seen == {"MemTotal": 2 << 30, "HugePages_Total": 3}


def test_vmstat() -> None:
    assert parse_vmstat("pswpin 12\noom_kill 1\n\nx y z\n") == {"pswpin": 12, "oom_kill": 1}


def test_pressure_is_unknown_where_the_file_is_not_there_or_cannot_be_read() -> None:
    assert parse_pressure("") is None
    assert parse_pressure("some avg10=x avg60=0 avg300=0 total=1") is None
    assert parse_pressure("some avg10=0.00 avg60=0.00 avg300=0.00 total=0") is None


def test_processes_without_a_rollup_are_the_kernels_own() -> None:
    processes = parse_processes(ROLLUPS, COMMS, "")
    assert [each.pid for each in processes] == ["10", "20", "21", "30"]
    daemons, programs = daemon_groups(processes), program_groups(processes)
    assert [(each.name, each.count, each.anon, each.pss) for each in daemons] == [
        ("dockerd", 1, 40000 * 1024, 94000 * 1024),
        ("shims", 2, 6000 * 1024, 8000 * 1024),
    ]
    assert daemons[0].swap == 8 * 1024
    assert [(each.name, each.anon) for each in programs] == [("a: b", 500 * 1024)]


def test_units_do_not_count_again_what_has_a_row_of_its_own() -> None:
    units = {
        "/system.slice/ssh.service": 5_000_000,
        "/system.slice/docker.service": 41_000_000,
        "/user.slice": 100_000_000,
        "/system.slice/ssh.service2": 7,
    }
    inside = [
        ("/system.slice/docker.service", 40_960_000),
        ("/user.slice/user-1000.slice/docker-abc.scope", 90_000_000),
    ]
    seen = {each.name: each.anon for each in unit_groups(units, inside)}
    assert seen == {"ssh.service": 5_000_000, "docker.service": 40_000, "user.slice": 10_000_000, "ssh.service2": 7}
