"""The one remote call: what real droplets answered, cut-off answers, and the script on this machine's own engine."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.conftest import engine_missing

from opsctl.docker import collect
from opsctl.docker.disk import parse_disk, parse_filesystems, parse_logs
from opsctl.jobs.memory import report
from opsctl.model.errors import StepFailed
from opsctl.model.memory import Verdict
from opsctl.model.memory_facts import ContainerFacts, DiskUse, MemoryFacts
from opsctl.model.stack import Droplet, Stack

RECORDED = Path(__file__).parent / "recorded"
MACHINE = (RECORDED / "memory-v2-vm.txt").read_bytes()
NESTED = (RECORDED / "memory-v1-nested.txt").read_bytes()

ALL_BUT_CURL = (
    *("bash", "grep", "cut", "cat", "gzip", "stat", "awk", "tail"),
    *("dmesg", "timeout", "docker", "uname", "xargs", "find", "date"),
)


def of(facts: MemoryFacts, name: str) -> ContainerFacts:
    return next(each for each in facts.containers if name in (each.service, each.name))


def test_a_recorded_droplet_on_cgroup_1_inside_a_container() -> None:
    facts = collect.facts(NESTED)
    assert (facts.cgroup_version, facts.nested, facts.root_user) == (1, True, True)
    assert facts.engine == "26.1.5+dfsg1"
    assert facts.meminfo["MemTotal"] == 2 << 30
    orchestrator = of(facts, "orchestrator")
    assert orchestrator.memory is not None
    assert orchestrator.memory.limit == 2 << 30
    assert orchestrator.project == "deploy"
    eater = of(facts, "eater")
    assert (eater.oom_killed, eater.exit_code, eater.memory) == (True, 137, None)
    assert [(each.victim_id, each.scope) for each in facts.ooms or ()] == [(eater.id, "limit")]
    assert {each.name for each in facts.daemons or ()} == {"dockerd", "containerd", "shims", "proxies"}
    assert facts.root.kernel
    assert facts.disk.images is not None
    assert facts.disk.images.count == 16
    assert facts.disk.build_cache == DiskUse(0, 0, 0)
    assert facts.disk.logs


def test_when_the_droplet_runs_out_only_the_victim_is_blamed() -> None:
    marked = NESTED.replace(b'"OOMKilled":false', b'"OOMKilled":true')  # as engines on cgroup v1 mark all of them
    assert marked != NESTED
    seen = report(collect.facts(marked), Stack(None, {}, {}), Droplet("dev", "root@192.0.2.1"))
    assert {each.label: each.oom_kills for each in seen.containers if each.oom_kills != 0} == {"eater": 1}
    assert [each.label for each in seen.containers if each.verdict is Verdict.AT_RISK] == []


def test_the_droplets_own_limit_is_all_the_memory_there_is_and_no_containers() -> None:
    marks = NESTED.decode().partition("@@view ")[2].split()
    outer, eater = marks[0], of(collect.facts(NESTED), "eater").id
    text = NESTED.decode().replace(f"oom_memcg=/docker/{outer}/docker/{eater},", f"oom_memcg=/docker/{outer},")
    assert text != NESTED.decode()
    (kill,) = collect.facts(text.encode()).ooms or ()
    assert (kill.victim_id, kill.scope, kill.limit) == (eater, "host", None)


def test_a_recorded_machine_on_cgroup_2_with_systemd() -> None:
    facts = collect.facts(MACHINE)
    assert (facts.cgroup_version, facts.nested, facts.oom_source) == (2, False, "journal")
    assert facts.pressure is not None
    postgres = of(facts, "postgres").memory
    assert postgres is not None
    assert postgres.peak
    assert postgres.kernel
    assert postgres.limit == 256 << 20
    assert {each.name for each in facts.daemons or ()} == {"dockerd", "containerd", "shims", "proxies"}
    services = {each.name: each.anon for each in facts.services or ()}
    assert services["ssh.service"] > 1_000_000
    # The daemons have a row of their own: next to nothing of them is left in their units.
    assert services.get("docker.service", 0) < 1_000_000
    assert services.get("containerd.service", 0) < 1_000_000
    own, host = facts.ooms or ()
    assert (own.victim_id, own.scope, own.limit) == (of(facts, "eater").id, "limit", 40 << 20)
    assert (host.victim_id, host.scope, host.largest_is_victim) == (of(facts, "hog").id, "host", True)


def test_packed_and_plain_say_the_same() -> None:
    assert collect.facts(gzip.compress(NESTED)) == collect.facts(NESTED)


@pytest.mark.parametrize("output", [b"", b"bash: line 3: oops", NESTED[:20_000], gzip.compress(NESTED)[:3000]])
def test_an_answer_that_is_not_whole_is_an_error(output: bytes) -> None:
    with pytest.raises(StepFailed) as caught:
        collect.facts(output)
    assert caught.value.info.next


def test_without_root_what_cannot_be_measured_is_unknown() -> None:
    text = NESTED.decode().replace("@@who 0 ", "@@who 1000 ").replace("\n@@logs\n", "\n@@logs denied\n")
    facts = collect.facts(text.encode())
    assert facts.daemons is None
    assert facts.services is None
    assert facts.disk.logs is None
    assert of(facts, "postgres").memory == of(collect.facts(NESTED), "postgres").memory


def test_a_kernel_log_that_may_not_be_read_is_unknown_and_not_empty() -> None:
    before, _, after = NESTED.decode().partition("@@kernel-log dmesg 0\n")
    text = f"{before}@@kernel-log dmesg 0\n@lines 0\n\n@@disk{after.partition('@@disk')[2]}"
    assert collect.facts(text.encode()).ooms is None


@pytest.mark.parametrize("problem", ["none", "denied", "down", "no-client"])
def test_without_an_engine_the_host_is_still_told_of(problem: str) -> None:
    before, _, rest = NESTED.decode().partition("@@engine ")
    text = f"{before}@@engine {problem}\n\n@@cgroup {rest.partition('@@cgroup ')[2]}"
    facts = collect.facts(text.encode())
    assert facts.engine_problem == problem
    assert facts.containers == ()
    assert facts.meminfo["MemTotal"]


def test_units_of_systemd_on_cgroup_2() -> None:
    ident = "ab" * 32
    scope = f"/sys/fs/cgroup/system.slice/docker-{ident}.scope"
    text = f"""
@@who 1000 droplet 6.1.0 1795202152

@@view - -

@@engine api /var/run/docker.sock
{{"ServerVersion":"27.0.1"}}
[{{"Id":"{ident}","Names":["/x"],"State":"running"}}]

@@inspect
{{"Id":"{ident}","Name":"/x","State":{{"Status":"running"}}}}

@@cgroup 2 /sys/fs/cgroup
{scope}/memory.current:5000000
{scope}/memory.max:max
{scope}/memory.stat:anon 4000000
{scope}/memory.stat:shmem 0

@@units
/sys/fs/cgroup/system.slice/docker.service/memory.stat:anon 40000000
/sys/fs/cgroup/system.slice/ssh.service/memory.stat:anon 3000000
/sys/fs/cgroup/user.slice/memory.stat:anon 2000000

@@meminfo
MemTotal: 2000000 kB

@@processes daemons

@@end
"""
    facts = collect.facts(text.encode())
    assert {each.name: each.anon for each in facts.daemons or ()} == {"docker.service": 40_000_000}
    assert {each.name: each.anon for each in facts.services or ()} == {
        "ssh.service": 3_000_000,
        "user.slice": 2_000_000,
    }
    memory = of(facts, "x").memory
    assert memory is not None
    assert (memory.limit, memory.used, memory.unreclaimable) == (0, 5_000_000, None)


def test_disk_figures_of_several_apis() -> None:
    legacy = (
        '{"LayersSize":900,"Images":[{"Id":"a","Size":500,"SharedSize":100,"Containers":0},'
        '{"Id":"b","Size":500,"SharedSize":100,"Containers":-1}],"BuildCache":[{"Size":70,"InUse":false,"Shared":false},'
        '{"Size":5,"InUse":false,"Shared":true}],"Volumes":[{"UsageData":{"Size":30,"RefCount":0}},'
        '{"UsageData":{"Size":40,"RefCount":1}}]}\n\n@asked all 200\n'
    )
    seen = parse_disk(legacy, "", used_images={"b"}, logs=None)
    assert seen.images == DiskUse(2, 900, 400)
    assert seen.volumes == DiskUse(2, 70, 30)
    assert seen.build_cache == DiskUse(2, 70, 70)
    newer = (
        '{"ImageUsage":{"TotalCount":3,"TotalSize":900,"Reclaimable":100}}\n\n@asked images 200\n\n@asked volumes 000\n'
    )
    seen = parse_disk(newer, "", used_images=set(), logs=None)
    assert seen.images == DiskUse(3, 900, 100)
    assert seen.volumes is None


def test_an_answer_about_the_disk_that_did_not_come_in_time_is_unknown() -> None:
    seen = parse_disk(
        '{"LayersSize":9,"Images":[{"I\n@asked images 200\n\n@asked volumes 000\n', "", used_images=set(), logs=1
    )
    assert (seen.images, seen.volumes, seen.build_cache, seen.logs) == (None, None, None, 1)


def test_one_disk_mounted_twice_is_one() -> None:
    places = parse_filesystems(
        "4096 1000 600 500 aa /var/lib/docker\n4096 1000 600 500 bb /\n4096 9 1 0 cc /x y\nbroken"
    )
    assert [(each.path, each.size, each.used, each.available) for each in places] == [
        ("/var/lib/docker", 4096000, 1638400, 2048000),
        ("/x y", 36864, 32768, 0),
    ]


def test_logs_with_their_rotated_files() -> None:
    root = "/var/lib/docker/containers"
    text = f"100 {root}/abc/abc-json.log\n50 {root}/abc/abc-json.log.1\n7 {root}/def/local-logs/container.log\nbad"
    assert parse_logs(text) == {"abc": 150, "def": 7}


def test_the_script_runs_on_this_machine() -> None:
    """With or without an engine: the host's own figures are always there."""
    script = collect.script("full", None, 2.0)
    done = subprocess.run(
        ["bash", "-c", script.text, "bash", *script.args], capture_output=True, timeout=60, check=True
    )
    facts = collect.facts(done.stdout)
    assert facts.meminfo["MemTotal"] > facts.meminfo["MemAvailable"] > 0
    assert facts.boot_id
    assert facts.disk.filesystems
    quick = collect.script("sample", None, 0)
    done = subprocess.run(["bash", "-c", quick.text, "bash", *quick.args], capture_output=True, timeout=60, check=True)
    assert collect.sample(done.stdout).total == facts.meminfo["MemTotal"]


@pytest.mark.skipif(engine_missing() is not None, reason=engine_missing() or "")
def test_without_curl_the_docker_command_is_asked(tmp_path: Path) -> None:
    for name in ALL_BUT_CURL:
        if program := shutil.which(name):
            (tmp_path / name).symlink_to(program)
    script = collect.script("full", None, 1.0)
    command = [shutil.which("bash") or "bash", "-c", script.text, "bash", *script.args]
    found = []
    for path in (os.environ["PATH"], str(tmp_path)):
        done = subprocess.run(command, capture_output=True, timeout=60, check=True, env={"PATH": path, "HOME": "/root"})
        found.append(collect.facts(done.stdout))
    assert [each.engine_via for each in found] == ["api", "cli"]
    assert found[0].engine == found[1].engine
    assert found[1].disk.images is None


def test_a_socket_that_nobody_listens_on(tmp_path: Path) -> None:
    import socket

    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
    script = collect.script("full", str(path), 1.0)
    done = subprocess.run(
        ["bash", "-c", script.text, "bash", *script.args], capture_output=True, timeout=60, check=True
    )
    facts = collect.facts(done.stdout)
    assert (facts.engine_problem, facts.engine_socket) == ("down", str(path))
    assert facts.containers == ()


@pytest.mark.parametrize("recorded", [MACHINE, NESTED], ids=["machine", "nested"])
def test_no_figure_of_a_whole_answer_is_lost(recorded: bytes) -> None:
    facts = collect.facts(recorded)
    assert None not in (facts.daemons, facts.services, facts.ooms, facts.uptime, facts.disk.volumes, facts.disk.logs)
    for each in facts.containers:
        assert (each.memory is None) == (not each.running)
        assert each.restarts is not None
        assert each.memory is None or None not in (each.memory.used, each.memory.unreclaimable, each.memory.peak)
