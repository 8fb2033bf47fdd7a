"""Asks the questions of a playbook's steps: each with a bound, each with the state that was seen."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from opsctl.jobs.gates_once import ask
from opsctl.jobs.playbook_kills import none_killed
from opsctl.jobs.playbook_place import Answer, Jobs, Order, Place
from opsctl.model.engine import ProbeSpec
from opsctl.model.errors import DeadlineExceeded, Interrupted, StepFailed, UnreachableError
from opsctl.model.playbook import Check
from opsctl.model.secret import Secret
from opsctl.model.stack import Gate
from opsctl.model.units import show_duration, show_size

Reveal = Callable[[str], Secret]
"""The secret in a variable of the environment. Raises ConfigError where it is not set."""
Tell = Callable[[str], None]

_ONCE = 5.0  # s for one answer
_BUSY = 15.0  # s more for a first answer: after a boot a command in a container takes its time
_FIRST_WORD = 15.0  # s for a busy sshd's, where there is time
_PAUSE = 1.0  # s between two questions
_EVERY = 5.0  # s between two readings of the memory that is watched
_LONGEST = 1 << 20  # bytes of an answer that are looked at


class Checks:
    """All the checks of one run. `patient`: ask until `within` is over; else one look, for what is so now.

    `began` says since when a kill counts, "" as long as the run has not begun.
    """

    def __init__(self, jobs: Jobs, reveal: Reveal, *, began: Callable[[], str], away: bool = False) -> None:
        self._jobs = jobs
        self._reveal = reveal
        self._began = began
        self._away = away  # the droplet may be down: what cannot be asked does not hold

    def first_wrong(
        self, place: Place, checks: Sequence[Check], *, patient: bool, tell: Tell = lambda _: None
    ) -> Answer | None:
        """The first check that does not hold; None where all do. Raises Interrupted, UnreachableError."""
        for check in checks:
            answer = self.ask(place, check, patient=patient, tell=tell)
            if not answer.holds:
                return answer
        return None

    def ask(self, place: Place, check: Check, *, patient: bool, tell: Tell) -> Answer:
        """One check."""
        within = float(check.values.get("within", 0.0)) if patient else 0.0
        end = time.monotonic() + within
        last = ""
        while True:
            answer = self._look(place, check, max(_ONCE, within), patient=patient, tell=tell)
            if not answer.holds and answer.seen != last:
                last = answer.seen
                tell(last)
            if answer.holds or time.monotonic() >= end:
                return answer
            if place.cancel.wait(_PAUSE):
                place.cancel.check(str(check))

    def _look(self, place: Place, check: Check, patience: float, *, patient: bool, tell: Tell) -> Answer:
        place.cancel.check(str(check))
        wanted = not check.negated
        if check.kind == "reachable":
            answers = place.knock(place.cancel.child(min(patience, _FIRST_WORD)))
            holds = answers == bool(check.values["reachable"])
            return Answer(check, holds is wanted, "answers" if answers else "does not answer")
        if self._away and not place.knock(place.cancel.child(_ONCE)):
            return Answer(check, check.negated, f"{place.droplet.name} does not answer")
        try:
            answer = self._once(place, check, patience, patient=patient, tell=tell)
        except UnreachableError as error:
            if not self._away:
                raise
            return Answer(check, check.negated, error.info.what)
        return replace(answer, holds=answer.holds is wanted)

    def _once(self, place: Place, check: Check, patience: float, *, patient: bool, tell: Tell) -> Answer:
        match check.kind:
            case "http":
                holds, seen = self._http(place, check)
            case "memory":
                holds, seen = _memory(place, check, watch=patient, tell=tell)
            case "oom":
                holds, seen = none_killed(place, self._began())
            case "job":
                holds, seen = self._job(place, check)
            case "service":
                holds, seen = _service(place, check, patience)
            case _:
                holds, seen = _inside(place, check, patience)
        return Answer(check, holds, seen)

    def _http(self, place: Place, check: Check) -> tuple[bool, str]:
        port, path = _port_and_path(str(check.values["http"]))
        headers = {"User-Agent": "opsctl"}
        if "bearer" in check.values:
            headers["Authorization"] = f"Bearer {self._reveal(check.values['bearer'].env).reveal()}"
        try:
            with place.host.forward("127.0.0.1", port) as endpoint:
                connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=_ONCE)
                try:
                    connection.request("GET", path, headers=headers)
                    response = connection.getresponse()
                    body = response.read(_LONGEST).decode(errors="replace")
                finally:
                    connection.close()
        except (OSError, http.client.HTTPException) as error:
            return False, f":{port} does not answer ({str(error) or type(error).__name__})"
        return _judged(check.values, response.status, body)

    def _job(self, place: Place, check: Check) -> tuple[bool, str]:
        call = check.values["job"]
        done = self._jobs[call.job].perform(Order(place, call.arguments, "", "", dry_run=False))
        if done.interrupted:
            raise Interrupted(signum=place.cancel.signum)
        words = done.detail or (done.error.what if done.error else "")
        return done.error is None, words


def _port_and_path(text: str) -> tuple[int, str]:
    port, slash, path = text.removeprefix(":").partition("/")
    if not port.isdigit():
        raise StepFailed(f"{text!r} is not what to ask for", next="write it like ':8001/health'")
    return int(port), f"{slash}{path}" or "/"


def _judged(values: Any, status: int, body: str) -> tuple[bool, str]:
    good = status == values["status"] if "status" in values else 200 <= status < 300
    if good and "contains" in values and values["contains"] not in body:
        return False, f"status {status}, without {values['contains']!r}"
    return good, f"status {status}"


def _memory(place: Place, check: Check, *, watch: bool, tell: Tell) -> tuple[bool, str]:
    least, wanted = None, int(check.values["memory"])
    end = time.monotonic() + (float(check.values.get("for", 0.0)) if watch else 0.0)
    while True:
        now = place.memory.sample(place.reads, cancel=place.cancel).available
        least = now if least is None else min(least, now)
        left = end - time.monotonic()
        if now < wanted:
            return False, f"{show_size(now)} available, {show_size(wanted)} wanted"
        if left <= 0:
            return True, f"{show_size(least)} available" + (" at the least" if watch and "for" in check.values else "")
        tell(f"{show_size(now)} available, watching for {show_duration(left)} more")
        if place.cancel.wait(min(left, float(check.values.get("every", _EVERY)))):
            place.cancel.check(str(check))


def _service(place: Place, check: Check, patience: float) -> tuple[bool, str]:
    facts, wanted = place.facts(), check.values.get("state", "healthy")
    names = check.values["service"]
    states = {name: (found.status if (found := facts.of(name)) else "not there") for name in names}
    if wanted == "stopped":
        up = [name for name, state in states.items() if state in ("running", "restarting", "paused")]
        return not up, f"running: {', '.join(up)}" if up else "stopped"
    down = [f"{name} is {state}" for name, state in states.items() if state != "running"]
    if down or wanted == "running":
        return not down, "; ".join(down) or "running"
    stack = place.merged(facts)
    specs = []
    for name in names:
        container = facts.of(name)
        assert container is not None
        test = container.health_test or (facts.compose[name].health_test if name in facts.compose else ())
        gate = Gate(within=patience)
        if name in stack.services:
            own = stack.services[name].gate
            gate = Gate(own.http, own.tcp, own.sql, own.command, own.status, patience)
        if gate != Gate(within=patience) or test:
            specs.append(ProbeSpec(name, container.id, gate, test, container.ports))
    return _asked(place, tuple(specs))


def _inside(place: Place, check: Check, patience: float) -> tuple[bool, str]:
    name = check.values["in"]
    container = place.facts().of(name)
    if container is None or container.status != "running":
        return False, f"{name} is {container.status if container else 'not there'}"
    command = tuple(check.values["command"]) if "command" in check.values else None
    gate = Gate(sql=check.values.get("sql"), command=command, within=patience)
    return _asked(place, (ProbeSpec(name, container.id, gate, (), container.ports),))


def _asked(place: Place, specs: tuple[ProbeSpec, ...]) -> tuple[bool, str]:
    try:
        states = ask(place.engine, place.reads, specs, cancel=place.cancel, grace=_BUSY)
    except DeadlineExceeded as error:
        return False, error.info.what
    except StepFailed as error:
        return False, error.info.why or error.info.what
    wrong = [
        f"{each.service}: {states[each.service].detail or states[each.service].state}"
        if each.service in states
        else f"{each.service}: no answer"
        for each in specs
        if each.service not in states or states[each.service].state != "passed"
    ]
    return not wrong, "; ".join(wrong) or "healthy"
