"""OOM kills from the kernel log: real lines of several kernels and loggers."""

# ruff: noqa: E501 - the kernel's lines are as long as they are

from __future__ import annotations

from opsctl.docker.kernlog import container_id, parse_ooms

OUTER, INNER = "fa8d7a43" * 8, "82f2a7d0" * 8

# Kernel 6.18, cgroup v1, dmesg --time-format iso: a container at its own limit, in a droplet that is a container.
LIMIT = f"""2026-11-20T19:26:07,991564+00:00 python3 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
2026-11-20T19:26:07,992068+00:00 memory: usage 40960kB, limit 40960kB, failcnt 0
2026-11-20T19:26:07,992227+00:00 [   1437]     0  1437    26648    11500    10112     1388         0   143360        0             0 python3
2026-11-20T19:26:07,992230+00:00 oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset={INNER},mems_allowed=0,oom_memcg=/docker/{OUTER}/docker/{INNER},task_memcg=/docker/{OUTER}/docker/{INNER},task=python3,pid=1437,uid=0
2026-11-20T19:26:07,992241+00:00 Memory cgroup out of memory: Killed process 1437 (python3) total-vm:106592kB, anon-rss:40448kB, file-rss:5552kB, shmem-rss:0kB, UID:0 pgtables:140kB oom_score_adj:0
@lines 1931"""

# Kernel 6.12, cgroup v2 with systemd, journalctl -o short-iso: the host ran out; the largest is not who asked.
HOST = f"""2026-11-20T20:01:02+0000 droplet kernel: sshd invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0, oom_score_adj=0
2026-11-20T20:01:02+0000 droplet kernel: [    301]     0   301     3845      256        0      256         0    69632        0         -1000 sshd
2026-11-20T20:01:02+0000 droplet kernel: [   2211]   999  2211   310021   200000   199000     1000         0  1900000        0             0 a b (c)
2026-11-20T20:01:02+0000 droplet kernel: [   2240]   999  2240   110021    60000    59000     1000         0   900000        0           500 python3
2026-11-20T20:01:02+0000 droplet kernel: oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=docker-{INNER}.scope,mems_allowed=0,global_oom,task_memcg=/system.slice/docker-{INNER}.scope,task=python3,pid=2240,uid=999
2026-11-20T20:01:02+0000 droplet kernel: Out of memory: Killed process 2240 (python3) total-vm:440084kB, anon-rss:236000kB, file-rss:4000kB, shmem-rss:0kB, UID:999 pgtables:900kB oom_score_adj:500
@lines 900"""

# Kernel 4.15: no oom-kill: line, a comma behind the kill, seconds since the boot instead of a time.
OLD = """[ 1518.364565] mysqld invoked oom-killer: gfp_mask=0x14000c0(GFP_KERNEL), nodemask=(null),  order=0, oom_score_adj=0
[ 1518.364565] memory: usage 524288kB, limit 524288kB, failcnt 99
[ 1518.364566] [ 1437]   999  1437   300000   120000    1433600        0             0 mysqld
[ 1518.364589] Memory cgroup out of memory: Kill process 1437 (mysqld) score 1000 or sacrifice child
[ 1518.364590] Killed process 1437 (mysqld) total-vm:1200000kB, anon-rss:480000kB, file-rss:0kB, shmem-rss:0kB
@lines 12"""


def test_a_container_at_its_own_limit() -> None:
    (kill,) = parse_ooms(LIMIT.splitlines(), 0)
    assert kill.scope == "limit"
    assert kill.time == "2026-11-20T19:26:07+00:00"
    assert (kill.victim_id, kill.limit_id) == (INNER, INNER)
    assert (kill.victim_process, kill.invoked_by) == ("python3", "python3")
    assert kill.victim_bytes == (40448 + 5552) * 1024
    assert kill.limit == 40960 * 1024
    assert kill.largest_is_victim


def test_the_host_ran_out_and_the_largest_is_named() -> None:
    (kill,) = parse_ooms(HOST.splitlines(), -1)
    assert (kill.scope, kill.boot) == ("host", -1)
    assert kill.time == "2026-11-20T20:01:02+00:00"
    assert (kill.victim_id, kill.limit_id) == (INNER, "")
    assert (kill.largest_process, kill.largest_bytes) == ("a b (c)", 200000 * 4096)
    assert (kill.victim_process, kill.invoked_by) == ("python3", "sshd")
    assert kill.limit is None
    assert not kill.largest_is_victim


def test_an_old_kernel() -> None:
    (kill,) = parse_ooms(OLD.splitlines(), 0)
    assert (kill.scope, kill.victim_process, kill.time, kill.invoked_by) == ("limit", "mysqld", "", "mysqld")
    assert kill.limit == 512 << 20


def test_one_kill_does_not_inherit_from_the_one_before() -> None:
    first, second = parse_ooms([*LIMIT.splitlines(), *HOST.splitlines()], 0)
    assert first.limit is not None
    assert second.limit is None
    assert second.largest_process == "a b (c)"


def test_the_innermost_container_that_is_known() -> None:
    path = f"/docker/{OUTER}/docker/{INNER}"
    assert container_id(path) == INNER
    assert container_id(path, {OUTER}) == OUTER
    assert container_id(path, {OUTER, INNER}) == INNER
    assert container_id("/system.slice/cron.service") == ""
    assert container_id(f"/system.slice/docker-{INNER}.scope") == INNER


def test_nothing_in_the_log() -> None:
    assert parse_ooms(["@lines 500"], 0) == ()
