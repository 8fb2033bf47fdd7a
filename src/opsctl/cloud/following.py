"""Actions on a droplet: begun once, followed to their real end, and believed only when the droplet says the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opsctl.cloud import shapes
from opsctl.cloud.answers import Lost
from opsctl.cloud.client import Client
from opsctl.model.cancel import Cancel
from opsctl.model.cloud import CloudAction, CloudDroplet, Tell
from opsctl.model.errors import DeadlineExceeded, Interrupted, StepFailed, UnreachableError

# s; how long an action of a kind may take. Disks and their copies are as slow as they are large.
BOUNDS = {"reboot": 300.0, "snapshot": 3 * 3600.0, "resize": 3600.0, "shutdown": 90.0}
BOUND = 600.0
_STATE_BOUND = 60.0  # s; for the droplet to agree with a completed action
_FIRST, _SLOWER, _LONGEST = 0.2, 1.15, 5.0  # s between two looks; each is so many times later than the last
_REPEATS = 2
_LAG = (0.5, 1.5, 0.0)  # s; the list of actions may lag behind


class Following:
    """What begins and follows the actions of droplets."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def droplet(self, number: int, *, cancel: Cancel) -> CloudDroplet:
        """Read one droplet."""
        return shapes.droplet(self._client.get(f"/v2/droplets/{number}", cancel=cancel)["droplet"])

    def latest(self, number: int, *, cancel: Cancel) -> tuple[CloudAction, ...]:
        """The latest actions of a droplet, the newest first."""
        answer = self._client.get(f"/v2/droplets/{number}/actions", cancel=cancel, query={"per_page": "20"})
        every = (shapes.action(each) for each in answer.get("actions") or ())
        return tuple(sorted(every, key=lambda each: each.id, reverse=True))

    def settled(self, number: int, *, cancel: Cancel, tell: Tell) -> CloudDroplet:
        """Wait for what is under way on the droplet, whatever its end; the droplet after that."""
        self._idle(number, cancel, tell)
        return self.droplet(number, cancel=cancel)

    def _idle(self, number: int, cancel: Cancel, tell: Tell) -> int:
        """Wait for what is under way on the droplet; the number of its last action, 0 where it had none."""
        every = self.latest(number, cancel=cancel)
        busy = [each for each in every if each.status == "in-progress"]
        for each in busy:
            tell(f"waiting for the {each.kind} that is under way")
            self._end(number, each, cancel, tell)
        if busy:
            every = self.latest(number, cancel=cancel)  # others may have asked for something meanwhile
        return max((each.id for each in every), default=0)

    def act(self, number: int, body: Mapping[str, Any], *, cancel: Cancel, tell: Tell) -> CloudAction:
        """Begin an action and follow it. Raises StepFailed for one that errored."""
        begun = self._begin(number, body, self._idle(number, cancel, tell), cancel, tell)
        ended = self._end(number, begun, cancel, tell)
        if ended.status != "completed":
            raise StepFailed(
                f"the provider could not do it: {ended.kind} of droplet {number} ended as {ended.status}",
                why=f"action {ended.id}, begun {ended.started}",
                next="opsctl droplet show",
                code="action-errored",
            )
        return ended

    def state(self, number: int, wanted: str, *, cancel: Cancel, tell: Tell) -> CloudDroplet:
        """The droplet once it has this status. Raises StepFailed with the last one seen."""
        bound = cancel.child(_STATE_BOUND)
        pause = _FIRST
        while True:
            seen = self.droplet(number, cancel=cancel)
            if seen.status == wanted:
                return seen
            tell(f"the droplet is {seen.status}")
            if bound.wait(max(pause, self._client.spacing)):
                cancel.check(f"droplet {number} to be {wanted}")
                raise StepFailed(
                    f"droplet {number} is {seen.status}, not {wanted}",
                    why=f"the provider says that the action is completed; seen for {_STATE_BOUND:g} s",
                    next="opsctl droplet power-on" if wanted == "active" else "opsctl droplet show",
                    code="power-state",
                )
            pause = min(_LONGEST, pause * 1.5)

    def _begin(self, number: int, body: Mapping[str, Any], known: int, cancel: Cancel, tell: Tell) -> CloudAction:
        """Ask for it. An answer that got lost is looked for among the actions after `known` before it asks again."""
        lost: Lost | None = None
        for _ in range(_REPEATS):
            try:
                path = f"/v2/droplets/{number}/actions"
                answer = self._client.request("POST", path, body=body, cancel=cancel, tell=tell)
                return shapes.action(answer["action"])
            except Lost as error:
                lost = error
                tell(f"{error.final.info.what}: looking whether {body['type']} was begun all the same")
                if found := self._since(number, known, str(body["type"]), cancel):
                    return found
        assert lost is not None
        info = lost.final.info
        raise UnreachableError(
            info.what,
            why=f"{info.why}; {body['type']} was asked for {_REPEATS} times and was not begun",
            next="opsctl droplet show",
            code=info.code,
        )

    def _since(self, number: int, known: int, kind: str, cancel: Cancel) -> CloudAction | None:
        for pause in _LAG:
            for each in self.latest(number, cancel=cancel):
                if each.id > known and each.kind == kind:
                    return each
            if pause and cancel.wait(pause):
                cancel.check(f"the actions of droplet {number}")
        return None

    def _end(self, number: int, action: CloudAction, cancel: Cancel, tell: Tell) -> CloudAction:
        bound = cancel.child(BOUNDS.get(action.kind, BOUND))
        within = round(bound.remaining or 0.0)
        pause, seen = _FIRST, action
        while seen.status == "in-progress":
            tell(f"{seen.kind} in progress (action {seen.id})")
            if bound.wait(max(pause, self._client.spacing)):
                raise self._unfinished(number, seen, within, cancel)
            pause = min(_LONGEST, pause * _SLOWER)
            try:
                answer = self._client.get(f"/v2/actions/{action.id}", cancel=bound, tell=tell)
            except (DeadlineExceeded, Interrupted):
                raise self._unfinished(number, seen, within, cancel) from None
            seen = shapes.action(answer["action"])
        return seen

    def _unfinished(
        self, number: int, action: CloudAction, within: int, cancel: Cancel
    ) -> Interrupted | DeadlineExceeded:
        why = f"action {action.id} of droplet {number} goes on at the provider; last seen {action.status}"
        if cancel.cancelled:
            what = f"interrupted while waiting for {action.kind}"
            return Interrupted(what, signum=cancel.signum, why=why, next="opsctl droplet show")
        return DeadlineExceeded(
            f"{action.kind} did not end within {within} s", why=why, next="opsctl droplet show", code="action-slow"
        )
