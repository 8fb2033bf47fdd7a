"""What `why` says about what it read: the kernel's real lines, and a droplet's state around them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import Droplet as Sandbox
from tests.conftest import Opsctl
from tests.jobs.startup_droplet import small
from tests.test_main_job import valid

from opsctl.docker.inspect import parse_containers
from opsctl.docker.why import parse_why
from opsctl.jobs.why import explain, gate_specs
from opsctl.model.engine import ProbeState
from opsctl.model.errors import StepFailed, UsageError
from opsctl.model.stack import Droplet, Gate, Service, Stack
from opsctl.model.why import Why, WhyFacts

POSTGRES, EATER, OUTER, AGENT = "aa11" * 16, "bb22" * 16, "cc33" * 16, "ee55" * 16
HERE = Droplet("agents", "root@203.0.113.7", project="deploy")
STACK = Stack(
    None,
    {"agents": HERE},
    {
        "postgres": Service("postgres", phase=1, gate=Gate(tcp=5432)),
        "orchestrator": Service("orchestrator", phase=2),
        "code-review": Service("code-review", phase=3, optional=True),
    },
)


def inspected(ident: str, service: str, state: str, *, policy: str = "always", memory: int = 0) -> str:
    """A line of the engine's answer."""
    labels = f'{{"com.docker.compose.service":"{service}","com.docker.compose.project":"deploy"}}'
    return (
        f'{{"id":"{ident}","name":"/deploy-{service}-1","labels":{labels},"image":"i","image_id":"sha256:1",'
        f'"state":{{{state}}},"restarts":0,"policy":"{policy}","memory":{memory},"bindings":{{}},"published":{{}},'
        '"networks":{},"health":null}'
    )


UP = '"Status":"running","ExitCode":0,"Pid":9,"StartedAt":"2026-11-20T20:00:00.1Z","FinishedAt":"0001-01-01T00:00:00Z"'
KILLED = (
    '"Status":"exited","ExitCode":137,"OOMKilled":true,"StartedAt":"2026-11-20T20:00:00.1Z",'
    '"FinishedAt":"2026-11-20T20:01:03.5Z"'
)

# Kernel 6.12, cgroup v2: the host ran out; postgres was killed, and the process that held most was another's.
HOST = f"""2026-11-20T20:01:02+0000 agents kernel: sshd invoked oom-killer: gfp_mask=0x140cca, order=0, oom_score_adj=0
2026-11-20T20:01:02+0000 agents kernel: [    301]     0   301     3845      256        0      256         0    69632        0         -1000 sshd
2026-11-20T20:01:02+0000 agents kernel: [   2211]   999  2211   310021   200000   199000     1000         0  1900000        0             0 python3
2026-11-20T20:01:02+0000 agents kernel: [   2212]   999  2211   110021   300000    10000   290000         0  1900000        0             0 mapper
2026-11-20T20:01:02+0000 agents kernel: [   2240]   999  2240   110021    60000    59000     1000         0   900000        0           500 postgres
2026-11-20T20:01:02+0000 agents kernel: oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=docker-{POSTGRES}.scope,mems_allowed=0,global_oom,task_memcg=/system.slice/docker-{POSTGRES}.scope,task=postgres,pid=2240,uid=999
2026-11-20T20:01:02+0000 agents kernel: Out of memory: Killed process 2240 (postgres) total-vm:440084kB, anon-rss:236000kB, file-rss:4000kB, shmem-rss:0kB, UID:999 pgtables:900kB oom_score_adj:500
@lines 900"""  # noqa: E501 - the kernel's lines are as long as they are

ENGINE = "\n".join(
    inspected(each, name, UP)
    for each, name in ((POSTGRES, "postgres"), (AGENT, "orchestrator"), (EATER, "code-review"))
)


def answer(kernel: str = "@lines 10", before: str = "@lines 0", **more: str) -> str:
    """The remote script's output."""
    sections = {
        "machine": (
            "boot 1234\nuptime 600.0 1.0\nnow 1795205000\nself -\nnested -\nuid 0\ncpus 2\nload 0.5 0.4 0.3 1/2 3\n"
            "MemTotal:        2000000 kB\nMemAvailable:    1000000 kB\nMemFree: 5 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB"
        ),
        "pressure": "/proc/pressure/memory:some avg10=0.00 avg60=1.50 avg300=0.00 total=1",
        "disks": "space 1000000 500000 500000 /\ninodes 1000 10 990 /",
        "audit": "",
        "engine": ENGINE,
        "kernel": kernel,
        "kernel-before": before,
        "ended": "clean 2026-11-20T19:50:00+0000 agents systemd[1]: Reached target reboot.target\n"
        "last 2026-11-20T19:50:01+0000 agents systemd-journald[1]: Journal stopped",
        "processes": f"2211 {EATER}\n77 {POSTGRES}\ncomm 2211 python3\ncomm 77 postgres\ncomm 1 systemd",
        **more,
    }
    rows = [f"@@opsctl-section {name}\n{text}\n\n@@opsctl-section rc 0" for name, text in sections.items()]
    return "\n".join(rows) + "\n"


def facts(**more: str) -> WhyFacts:
    return parse_why(answer(**more))


def why(found: WhyFacts, service: str = "") -> Why:
    return explain(found, STACK, HERE, service=service)


def test_the_culprit_is_who_held_most_anonymous_memory_and_not_who_was_killed() -> None:
    found = why(facts(kernel=HOST))
    (kill,) = found.kills
    assert (kill.victim, kill.victim_process, kill.scope) == ("postgres", "postgres", "host")
    assert (kill.culprit, kill.culprit_process, kill.culprit_bytes) == ("code-review", "python3", 199000 * 4096)
    assert not kill.same
    assert "The host ran out of memory at 20:01:02 UTC" in kill.text
    assert "The culprit is code-review (process python3), which held 815 MB" in kill.text


def test_after_a_reboot_the_only_container_that_runs_such_a_process_is_the_culprit() -> None:
    processes = f"9 {EATER}\n77 {POSTGRES}\ncomm 9 python3\ncomm 77 postgres"
    found = why(facts(kernel="@lines 5", before=HOST, processes=processes))
    (kill,) = found.kills
    assert (kill.boot, kill.victim, kill.culprit) == (-1, "postgres", "code-review")
    assert "before the droplet's last start" in kill.text


def test_a_culprit_nobody_knows_is_named_by_its_process() -> None:
    (kill,) = why(facts(kernel=HOST, processes=f"77 {POSTGRES}\ncomm 77 postgres")).kills
    assert (kill.culprit, kill.culprit_process) == ("the process python3", "python3")


def test_the_number_of_a_process_that_is_another_by_now_blames_nobody() -> None:
    processes = f"2211 {POSTGRES}\ncomm 2211 postgres"
    (kill,) = why(facts(kernel=HOST, processes=processes)).kills
    assert kill.culprit == "the process python3"


def test_who_was_dead_already_is_no_culprit_of_a_later_kill() -> None:
    first = HOST.removesuffix("@lines 900").replace("20:01:02", "20:00:40").replace("2240", "2211")
    first = first.replace(POSTGRES, EATER).replace("(postgres)", "(python3)").replace("task=postgres", "task=python3")
    processes = f"77 {POSTGRES}\ncomm 77 postgres"
    engine = inspected(POSTGRES, "postgres", UP) + "\n" + inspected(AGENT, "orchestrator", UP)
    found = why(facts(kernel=first + HOST, processes=processes, engine=engine))
    assert [each.culprit for each in found.kills][-1] == "the process python3"
    # One that is killed a moment later is the one.
    later = first.replace("20:00:40", "20:01:04")
    found = why(facts(kernel=HOST.removesuffix("@lines 900") + later, processes=processes))
    assert found.kills[0].culprit == "code-review"
    # And by its name, where the numbers say nothing.
    renumbered = later.replace("2211", "9911")
    found = why(facts(kernel=HOST.removesuffix("@lines 900") + renumbered, processes=processes))
    assert found.kills[0].culprit == "code-review"


def test_a_kill_of_a_neighbour_on_the_same_machine_is_not_ours() -> None:
    foreign = HOST.replace(POSTGRES, "dd44" * 16)
    machine = answer().split("@@opsctl-section machine\n")[1].split("\n\n@@")[0]
    nested = machine.replace("self -", f"self {OUTER}").replace("nested -", "nested yes")
    assert why(facts(kernel=foreign, machine=nested)).kills == ()
    assert len(why(facts(kernel=HOST, machine=nested)).kills) == 1
    # A container that is gone by now, but that was inside this droplet.
    inside = foreign.replace("/system.slice/docker-" + "dd44" * 16 + ".scope", f"/docker/{OUTER}/docker/" + "dd44" * 16)
    (kill,) = why(facts(kernel=inside, machine=nested)).kills
    assert kill.victim == "a container that is gone (dd44dd44dd44)"


def test_the_limit_of_a_droplet_that_is_a_container_is_its_host() -> None:
    machine = answer().split("@@opsctl-section machine\n")[1].split("\n\n@@")[0]
    nested = machine.replace("self -", f"self {OUTER}").replace("nested -", "nested yes")
    line = (
        "2026-11-20T20:01:02,5+00:00 oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0,"
        f"oom_memcg=/docker/{OUTER},task_memcg=/docker/{OUTER}/docker/{EATER},task=python3,pid=5,uid=0\n"
        "2026-11-20T20:01:02,5+00:00 Memory cgroup out of memory: Killed process 5 (python3) total-vm:1kB, "
        "anon-rss:100kB, file-rss:0kB, shmem-rss:0kB\n@lines 9"
    )
    (kill,) = why(facts(kernel=line, machine=nested)).kills
    assert (kill.scope, kill.victim, kill.limit) == ("host", "code-review", None)


def test_a_container_at_its_own_limit_is_its_own_culprit() -> None:
    limit = HOST.replace("CONSTRAINT_NONE", "CONSTRAINT_MEMCG").replace(
        "global_oom", f"oom_memcg=/system.slice/docker-{POSTGRES}.scope"
    )
    limit = "memory: usage 262144kB, limit 262144kB, failcnt 1\n" + limit
    limit = "x invoked oom-killer: gfp\n" + "\n".join(limit.splitlines()[:1] + limit.splitlines()[2:])
    engine = inspected(POSTGRES, "postgres", KILLED, memory=1 << 28) + f"\n@@log {POSTGRES}\nlast words\n"
    found = why(facts(kernel=limit, engine=engine))
    (kill,) = found.kills
    assert (kill.scope, kill.same, kill.limit) == ("limit", True, 1 << 28)
    assert found.verdict == "limit"
    assert found.answer[0].startswith("postgres went over its own memory limit of 268 MB at 20:01:02 UTC")
    (death,) = found.deaths
    assert (death.state, death.oom, death.exit_code, death.log) == ("OOM-killed", "limit", 137, ("last words",))
    assert any("raise the memory limit of postgres" in each for each in found.next)


def test_the_same_kill_again_and_again_is_told_once() -> None:
    (kill,) = why(facts(kernel=HOST.removesuffix("@lines 900") + HOST)).kills
    assert kill.times == 2
    assert "the last of 2 times" in kill.text


def test_a_kill_that_is_over_is_history_when_nothing_is_wrong() -> None:
    found = why(facts(kernel=HOST))
    assert found.verdict == "ok"
    assert found.answer[0].startswith("Nothing is down: 3 of 3 services run")


def test_a_kill_that_is_over_comes_after_what_is_broken_now_and_advises_nothing() -> None:
    loop = inspected(
        POSTGRES,
        "postgres",
        '"Status":"restarting","ExitCode":1,"StartedAt":"2026-11-20T20:03:00.1Z","FinishedAt":"2026-11-20T20:03:01.1Z"',
    ).replace('"restarts":0', '"restarts":7')
    engine = f"{loop}\n{inspected(AGENT, 'orchestrator', UP)}\n@@log {POSTGRES}\nNo space left on device\n"
    found = why(facts(engine=engine, kernel=HOST))
    assert found.verdict == "service"
    assert found.answer[0].startswith("postgres crashes again and again (7 restarts")
    assert "the disk is full" in found.answer[0]
    assert found.answer[-1].startswith("Over by now: The host ran out of memory at 20:01:02 UTC")
    assert found.next[0] == "opsctl logs postgres --since 10m"
    assert not any("fallback" in each for each in found.next)


def test_a_kill_before_the_last_start_is_over_even_after_a_power_cut() -> None:
    ended = "last 2026-11-20T19:50:01+0000 agents kernel: x"
    found = why(facts(kernel="@lines 5", before=HOST, ended=ended))
    assert found.verdict == "ok"
    assert found.answer[0].startswith("Nothing is down")
    assert found.answer[-1].startswith("Over by now: ")


def test_a_kill_a_moment_ago_is_in_the_first_sentence() -> None:
    again = UP.replace("20:00:00.1Z", "20:01:03.1Z")
    engine = "\n".join(inspected(each, name, again) for each, name in ((POSTGRES, "postgres"), (AGENT, "orchestrator")))
    seen = replace(facts(kernel=HOST, engine=engine), now=1795204864)
    found = why(seen)
    assert found.answer[0].endswith("; but postgres was killed for memory 2.0 s ago and runs again."), found.answer
    assert "; but" not in why(replace(seen, now=1795205000 + 900)).answer[0]


def test_between_two_lives_there_is_no_exit_code() -> None:
    loop = inspected(POSTGRES, "postgres", UP.replace("20:00:00.1Z", "20:03:18.1Z")).replace(
        '"restarts":0', '"restarts":7'
    )
    found = why(facts(engine=f"{loop}\n@@log {POSTGRES}\nbye\n"))
    assert found.deaths[0].exit_code is None
    assert "exit code" not in found.answer[0]


def test_what_runs_and_does_not_answer_is_wrong_and_who_was_not_asked_is_said() -> None:
    seen = facts()
    own = {each.service: each for each in seen.containers}
    assert [(each.service, each.gate.tcp) for each in gate_specs(seen, STACK, own)] == [("postgres", 5432)]
    assert gate_specs(replace(seen, now=1795204805), STACK, own) == (), "it has only just started"
    silent = {"postgres": ProbeState("postgres", "waiting", "no answer")}
    found = explain(seen, STACK, HERE, gates=silent)
    assert found.verdict == "service"
    assert found.answer[0] == "postgres runs and does not answer (asked once, for a second at most): no answer."
    assert found.answer[1].startswith("2 of 3 services are up")
    passed = {"postgres": ProbeState("postgres", "passed", "")}
    assert explain(seen, STACK, HERE, gates=passed).verdict == "ok"
    assert not any("not asked" in each for each in explain(seen, STACK, HERE, service="postgres", gates=passed).notes)
    assert any("not asked" in each for each in explain(seen, STACK, HERE, service="orchestrator", gates={}).notes)


def test_who_ended_as_told_was_not_killed_whatever_the_engine_marks() -> None:
    engine = inspected(POSTGRES, "postgres", KILLED.replace("137", "0")) + "\n" + inspected(EATER, "orchestrator", UP)
    (death,) = why(facts(engine=engine)).deaths
    assert (death.state, death.oom, death.exit_code) == ("stopped", "", 0)
    assert "ran out of memory" not in death.text


def test_who_stopped_it_is_in_the_audit() -> None:
    engine = inspected(POSTGRES, "postgres", KILLED.replace("137", "0").replace('"OOMKilled":true,', ""))
    engine += "\n" + inspected(EATER, "orchestrator", UP)
    audit = (
        '{"at":"2026-11-20T20:01:01Z","event":"begin","run":"r1","user":"alex","from":"laptop",'
        '"command":"opsctl stop postgres"}\n{"at":"2026-11-20T20:01:04Z","event":"end","run":"r1"}'
    )
    found = why(facts(engine=engine, audit=audit))
    assert found.deaths[0].cause == "it was stopped by `opsctl stop postgres` (alex from laptop)"
    assert "somebody stopped it by hand" in why(facts(engine=engine)).deaths[0].cause


def test_an_engine_that_is_down_comes_first() -> None:
    broken = answer(kernel=HOST)
    good = f"engine\n{ENGINE}\n\n"
    assert good in broken
    broken = broken.replace(
        good + "@@opsctl-section rc 0",
        "engine\nCannot connect to the Docker daemon at unix:///x. Is the docker daemon running?\n\n"
        "@@opsctl-section rc 1\n@@opsctl-section broken\nActiveState=failed\nSubState=failed\nResult=exit-code\n"
        f"\n@@opsctl-section rc 0\n@@opsctl-section named\nnamed {POSTGRES} postgres\n\n@@opsctl-section rc 0",
    )
    found = why(parse_why(broken))
    assert found.verdict == "engine"
    assert found.answer[0].startswith("The Docker engine does not answer (docker.service is failed, exit-code)")
    assert found.kills[0].victim == "postgres"
    assert found.deaths == ()
    assert found.next[0].startswith("opsctl recover")


def test_a_full_disk_and_full_inodes() -> None:
    found = why(facts(disks="space 1000000 999000 1000 /var/lib/docker\ninodes 1000 999 1 /srv"))
    assert found.verdict == "disk"
    assert found.answer[0] == "The disk is full at /var/lib/docker: 1.0 MB of 1024 MB are free."
    assert found.answer[1] == "The disk is full at /srv: 1 inodes are free."


def test_a_boot_that_nobody_asked_for() -> None:
    ended = "last 2026-11-20T19:50:01+0000 agents kernel: x"
    assert "without having been shut down" in " ".join(why(facts(ended=ended)).answer)
    assert why(facts(ended=ended)).before_ended == "cut"
    assert "without" not in " ".join(why(facts()).answer)


def test_a_kernel_log_that_may_not_be_read_is_said_and_is_not_no_kill() -> None:
    found = why(facts(kernel="@lines 0"))
    assert any("needs sudo" in each for each in found.notes)


def test_a_service_that_does_not_exist_and_half_an_answer() -> None:
    with pytest.raises(UsageError) as caught:
        why(facts(), "postgras")
    assert caught.value.info.next == "opsctl why postgres"
    with pytest.raises(StepFailed):
        parse_why("@@opsctl-section machine\nboot x\n")


def test_a_container_that_ended_with_the_droplet_is_told_as_such() -> None:
    cut = KILLED.replace("137", "255").replace('"OOMKilled":true,', "")
    found = facts(engine=inspected(POSTGRES, "postgres", cut))
    booted = replace(found, now=1795204863 + 30, uptime=25.0)
    assert parse_containers(inspected(POSTGRES, "postgres", cut))[0].exit_code == 255
    (death,) = why(booted).deaths
    assert "ended with the droplet" in death.cause


def test_a_droplet_that_says_nothing_can_be_brought_back(opsctl: Opsctl) -> None:
    told = opsctl("why", "-d", "root@127.0.0.1:1")
    assert told.returncode == 4
    assert "next opsctl recover" in told.stderr


@pytest.mark.sandbox
@pytest.mark.timeout(300)
def test_on_a_droplet_victim_and_limit_are_named_in_one_short_look(droplet: Sandbox) -> None:
    assert droplet.opsctl("startup", "--only", "gateway-mcp").returncode == 0
    eat = "x = bytearray(400 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1"
    droplet.sh(f"docker exec deploy-gateway-mcp-1 python3 -c '{eat}'", check=False)
    told = droplet.opsctl("why")
    assert told.returncode == 0, told.stderr
    assert "gateway-mcp went over its own memory limit of 268 MB" in told.stdout
    shown = valid("why", droplet.opsctl.json("why", "gateway-mcp"))
    assert [(each["scope"], each["victim"], each["same"]) for each in shown["kills"]] == [
        ("limit", "gateway-mcp", True)
    ]
    assert shown["verdict"] == "ok"
    droplet.sh("docker kill deploy-gateway-mcp-1")
    shown = droplet.opsctl.json("why")["droplets"][0]["result"]
    (death,) = shown["deaths"]
    assert (death["service"], death["exit_code"]) == ("gateway-mcp", 137)
    assert death["log"]
    droplet.sh(
        "docker run --no-healthcheck --name bare --label com.docker.compose.service=bare "
        "--label com.docker.compose.project=deploy --entrypoint sh "
        "$(docker inspect -f '{{.Image}}' deploy-gateway-mcp-1) -c 'echo no such file; exit 3'",
        check=False,
    )
    told = droplet.opsctl("why", "bare")
    assert "bare is down with exit code 3" in told.stdout, "what has no health check is seen, too"
    assert not droplet.sh("ls /var/lib/opsctl/lease/*.json 2>/dev/null", check=False), "reading takes no lease"
    wrong = droplet.opsctl("why", "gatway-mcp")
    assert wrong.returncode == 2
    assert "opsctl why gateway-mcp" in wrong.stderr


@pytest.mark.sandbox
@pytest.mark.timeout(300)
def test_a_container_without_a_health_check_hides_no_other(droplet: Sandbox, tmp_path: Path) -> None:
    stack = small(droplet, tmp_path)
    stack.services("good", "good2")
    assert stack.opsctl("startup").returncode == 0
    assert "Nothing is down: 2 of 2 services run" in stack.opsctl("why").stdout
    droplet.sh("docker stop -t 1 t-good-1 t-good2-1")
    assert "No service runs: the 2 with a container" in stack.opsctl("why").stdout
    droplet.sh("docker start t-good-1 t-good2-1; docker kill t-good2-1")
    assert "good2 is down with exit code 137" in stack.opsctl("why").stdout
