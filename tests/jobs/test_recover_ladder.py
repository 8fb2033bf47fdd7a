"""How far `recover` climbs when the droplet says nothing: whom it asks, what it tells, and where it ends."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest
from tests.jobs.startup_facts import DROPLET, compose, container, facts, stack

from opsctl.hosts.knock import Knocker
from opsctl.jobs.criteria import met, required
from opsctl.jobs.recover import recover
from opsctl.jobs.recover_link import Link, Means, Wishes
from opsctl.jobs.recover_services import plan_mend
from opsctl.jobs.startup_select import Options
from opsctl.model.cancel import Cancel
from opsctl.model.cloud import Cloud, CloudAction, CloudDroplet, Tell
from opsctl.model.errors import ExitCode, OpsError, StepFailed, UnreachableError
from opsctl.model.events import Event, StepWaiting
from opsctl.model.recovery import Criterion, Recovery, Rung
from opsctl.model.result import DropletResult
from opsctl.model.stack import Droplet, Service, Stack
from opsctl.spine.audit import Actor, Entry

RENTED = replace(DROPLET, provider={"digitalocean": 42})
ENTRY = Entry("20261120T000000-abcdef", "opsctl recover", "", Actor("ann", "laptop"), "2026-11-20T00:00:00Z", "0.1")
CONSOLE = "https://cloud.example/droplets/42/console"
FOUND = CloudDroplet(42, "d", "active", "", "", "", "", 1, 1, 1, 1.0, (), (), "", False, CONSOLE)


@dataclass
class Account:
    """A provider of ours that does nothing, and remembers what it was asked to do."""

    status: str = "active"
    fails: frozenset[str] = frozenset()
    asked: list[str] = field(default_factory=list)
    looks: int = 0
    seen: threading.Event = field(default_factory=threading.Event)

    def droplet(self, ref: int | str, *, cancel: Cancel) -> CloudDroplet:
        assert ref == 42
        self.looks += 1
        self.seen.set()
        return replace(FOUND, status=self.status)

    def _act(self, kind: str) -> CloudAction:
        self.asked.append(kind)
        if kind in self.fails:
            raise StepFailed(f"{kind} ended as errored", code="action-errored")
        return CloudAction(7, kind, "completed", "", "")

    def reboot(self, ref: int, *, cancel: Cancel, tell: Tell) -> CloudAction:
        return self._act("reboot")

    def power_cycle(self, ref: int, *, cancel: Cancel, tell: Tell) -> CloudAction:
        return self._act("power_cycle")

    def power_on(self, ref: int, *, cancel: Cancel, tell: Tell) -> CloudAction:
        return self._act("power_on")


@dataclass
class Person:
    """Answers questions, and hears what is told."""

    says: bool = True
    questions: list[str] = field(default_factory=list)
    heard: list[Event] = field(default_factory=list)

    def ask(self, question: str) -> bool:
        self.questions.append(question)
        return self.says

    def emit(self, event: Event) -> None:
        self.heard.append(event)


def away(code: str = "timeout") -> OpsError:
    return UnreachableError("h port 22 cannot be reached", why="no answer within 10 s", code=code)


def climb(
    account: Account,
    person: Person,
    wishes: Wishes,
    *,
    error: OpsError | None = None,
    droplet: Droplet = RENTED,
    listen: Callable[[Cancel], None] = lambda _: None,
) -> DropletResult[Recovery]:
    """Recover a droplet that never answers."""

    @contextmanager
    def connect(_: float) -> Iterator[Link]:
        raise error or away()
        yield

    means = Means(
        droplet=droplet,
        stack=Stack("/s.yaml", {"d": droplet}, {}),
        connect=connect,
        knock=lambda _: False,
        listen=listen,
        cloud=lambda: cast(Cloud, account),
        ask=person.ask,
        entry=ENTRY,
        reporter=person,
        cancel=Cancel(60),
        state_dir="/var/lib/opsctl",
    )
    return recover(means, wishes)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this machine writes down what a droplet cannot."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "opsctl/audit.jsonl"


HARD = Wishes(Rung.POWER_CYCLE, within=0.4, gentle=0.4)


def test_a_droplet_that_never_comes_back_ends_with_its_console_and_two_lines_in_the_audit(home: Path) -> None:
    account, person = Account(), Person()
    done = climb(account, person, HARD)
    assert done.exit_code is ExitCode.UNREACHABLE
    assert account.asked == ["reboot", "power_cycle"]
    assert [each.split("?")[0] for each in person.questions] == [
        "d does not answer. Ask the provider to reboot it",
        "Power-cycle d",
    ]
    told = done.result
    assert told is not None
    assert not told.recovered
    assert [(each.kind, each.outcome) for each in told.climbs] == [
        ("cloud-reboot", "changed"),
        ("boot", "failed"),
        ("power-cycle", "changed"),
        ("boot", "failed"),
    ]
    assert "did not come back within 0.4 s" in told.climbs[-1].detail
    assert told.advice[0] == f"look at its console: {CONSOLE}"
    assert any(isinstance(each, StepWaiting) and each.state == "SSH does not answer" for each in person.heard)
    lines = [json.loads(line) for line in home.read_text().splitlines()]
    assert [(each["event"], each["run"][-2:]) for each in lines] == [
        ("begin", "ef"),
        ("begin", ".1"),
        ("end", ".1"),
        ("begin", ".3"),
        ("end", ".3"),
        ("end", "ef"),
    ]
    assert lines[1]["command"] == "opsctl recover   (reboot through the provider)"
    assert (lines[-1]["outcome"], lines[-1]["exit_code"]) == ("failed", 4), "the recovery's own end"


def test_a_rung_beyond_the_bound_is_not_touched() -> None:
    account, person = Account(), Person()
    done = climb(account, person, replace(HARD, up_to=Rung.REBOOT))
    assert account.asked == ["reboot"]
    assert done.error is not None
    assert done.error.next == "opsctl recover --up-to power-cycle --yes"
    account = Account()
    done = climb(account, person, replace(HARD, up_to=Rung.FALLBACK))
    assert account.asked == []
    assert done.exit_code is ExitCode.UNREACHABLE
    assert done.error is not None
    assert "may go no further than fallback" in done.error.why
    assert done.result is not None
    assert done.result.advice == ("opsctl recover --up-to power-cycle --yes",), (
        "nothing was tried: nothing else is said"
    )


def test_no_is_no() -> None:
    account = Account()
    done = climb(account, Person(says=False), HARD)
    assert account.asked == []
    assert done.result is not None
    assert done.result.ended == "you did not want a reboot"


def test_an_action_that_errored_leads_to_the_next_one(home: Path) -> None:
    account = Account(fails=frozenset({"reboot"}))
    done = climb(account, Person(), HARD)
    assert account.asked == ["reboot", "power_cycle"]
    assert done.result is not None
    assert [each.outcome for each in done.result.climbs] == ["failed", "changed", "failed"]
    assert [json.loads(line).get("outcome") for line in home.read_text().splitlines()][2::2] == ["failed", "done"]


def test_a_droplet_that_is_off_is_switched_on_and_not_cut() -> None:
    account, person = Account(status="off"), Person()
    climb(account, person, replace(HARD, up_to=Rung.REBOOT))
    assert account.asked == ["power_on"]
    assert person.questions == ["d is off. Switch it on?"]


def test_a_login_that_is_refused_is_no_reason_for_a_reboot() -> None:
    account = Account()
    with pytest.raises(UnreachableError, match="cannot be reached"):
        climb(account, Person(), HARD, error=away("auth-failed"))
    assert account.asked == []


def test_the_provider_is_looked_at_once_while_ssh_is_still_waited_for_and_asked_for_nothing() -> None:
    account = Account()

    def silent(_: Cancel) -> None:
        assert account.seen.wait(20), "nobody looked at the provider meanwhile"
        assert account.asked == [], "SSH may still answer"
        raise away()

    done = climb(account, Person(), replace(HARD, up_to=Rung.REBOOT, gentle=0.0), listen=silent)
    assert account.looks == 1
    assert account.asked == ["reboot"]
    assert done.exit_code is ExitCode.UNREACHABLE


@pytest.mark.parametrize(
    "wishes",
    [replace(HARD, up_to=Rung.FALLBACK), replace(HARD, dry_run=True)],
    ids=["bound", "dry-run"],
)
def test_the_provider_is_not_looked_at_where_it_will_not_be_asked(wishes: Wishes) -> None:
    account = Account()

    def silent(cancel: Cancel) -> None:
        cancel.wait(0.5)
        raise away()

    climb(account, Person(), wishes, listen=silent)
    assert account.looks == 0


def test_what_the_provider_said_before_a_wait_for_ssh_is_asked_anew() -> None:
    account = Account()

    def silent(_: Cancel) -> None:
        account.seen.wait(20)
        account.status = "off"  # from now on
        raise away("refused")

    climb(account, Person(), replace(HARD, up_to=Rung.REBOOT), listen=silent)
    assert account.looks == 2
    assert account.asked == ["power_on"]


def test_without_a_provider_it_says_what_is_missing() -> None:
    done = climb(Account(), Person(), HARD, droplet=DROPLET)
    assert done.error is not None
    assert "`provider: {digitalocean: ID}` is missing" in done.error.why


def test_a_dry_run_names_the_rungs_and_climbs_none(home: Path) -> None:
    account = Account()
    done = climb(account, Person(), replace(HARD, dry_run=True))
    assert done.exit_code is ExitCode.DONE
    assert done.result is not None
    assert [each.kind for each in done.result.climbs] == ["cloud-reboot", "power-cycle"]
    assert account.asked == []
    assert not home.exists()


def test_what_must_run() -> None:
    known = stack(
        Service("a", phase=1), Service("b", phase=2, optional=True), Service("c", phase=2), Service("d", phase=3)
    )
    assert required(known) == ("a", "c")
    assert required(replace(known, fallback=("d",))) == ("d",)


def test_what_cannot_be_measured_is_no_failure_and_a_failure_is_one() -> None:
    def seen(ok: bool | None) -> Criterion:
        return Criterion("OOM kills", "minimum", "none", "", ok)

    assert met((seen(True), seen(None)))
    assert not met((seen(True), seen(False)))
    assert not met(()), "nothing was looked at"


def test_what_runs_without_an_answer_is_stopped_first_and_the_rest_just_started() -> None:
    seen = facts([compose("a"), compose("b"), compose("c")], [container("a"), container("b", "exited", exit_code=1)])
    known = stack(Service("a", phase=1), Service("b", phase=1), Service("c", phase=1))
    planned = plan_mend(seen, known, DROPLET, Options(only=("a", "b")))
    kinds = [(step.action.kind, step.service) for step in planned.plan.steps if step.action.kind in ("stop", "start")]
    assert kinds == [("stop", "a"), ("start", "a"), ("start", "b")]
    assert planned.plan.command == "recover"


def test_a_knock_is_only_answered_by_who_speaks_ssh() -> None:
    def serve(words: bytes) -> int:
        server = socket.create_server(("127.0.0.1", 0))

        def one() -> None:
            with suppress(ConnectionError), server, server.accept()[0] as link:
                link.sendall(words)
                link.recv(1)

        threading.Thread(target=one, name="banner").start()
        return int(server.getsockname()[1])

    def at(port: int) -> Knocker:
        return Knocker(Droplet("d", f"root@127.0.0.1:{port}"))

    assert at(serve(b"SSH-2.0-x\r\n"))(Cancel(2))
    assert not at(serve(b"220 mail\r\n"))(Cancel(2))
    silent = socket.create_server(("127.0.0.1", 0))
    port = int(silent.getsockname()[1])
    with silent:
        assert not at(port)(Cancel(0.3))
    assert not at(port)(Cancel(2))
