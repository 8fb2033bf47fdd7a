"""Bring a droplet back: the mildest step that helps, each proved before the next is tried."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack

from opsctl.jobs import recover_cloud as cloud
from opsctl.jobs import recover_report as report
from opsctl.jobs.criteria import Reading, failed, judge, met, required
from opsctl.jobs.recover_boot import engine_is_back, lift_hold, next_boot, place_hold, reboot, tidy
from opsctl.jobs.recover_limits import no_boot_helps
from opsctl.jobs.recover_link import Link, Means, Story, Telling, Wishes
from opsctl.jobs.recover_log import RecoveryLog
from opsctl.jobs.recover_services import bring_up, fall_back, held_ports, restart_engine, restart_failed, start_engine
from opsctl.jobs.startup import merged
from opsctl.jobs.why_times import seconds_of
from opsctl.model.cloud import CloudDroplet
from opsctl.model.errors import DeadlineExceeded, ErrorInfo, Interrupted, OpsError, UnreachableError
from opsctl.model.events import Outcome
from opsctl.model.operate import DropletFacts
from opsctl.model.recovery import Criterion, Recovery, Rung
from opsctl.model.result import DropletResult
from opsctl.model.units import show_duration

_FIRST_LOOK = 60.0  # s for a droplet to say how it is; one that is hung says nothing
_LOOK = 180.0  # s later on: it is known to live, and busy
_AT_ONCE = 0.05  # s; it was asked when the command began, and what has not said a word by then is likely to be away
_QUICK = 5.0  # s; who says no sooner than that is no machine that stands still
_KNOCK, _EVERY = 15.0, 0.3  # s
_SLOW_LOGIN = 45.0  # s where it was not there a moment ago: it is busy with its boot
_FOLLOW = 300.0  # s; how long a boot replay that has begun is followed
# Only these say that the droplet is away. A login that is refused would be refused after a reboot, too.
AWAY = ("timeout", "refused", "no-banner", "unreachable", "connection-lost", "deadline", "no-shell", "jump-failed")
_ORDER = tuple(Rung)


def recover(means: Means, wishes: Wishes) -> DropletResult[Recovery]:
    """Climb until the criteria hold, or the bound is reached. Raises OpsError for what no rung can mend."""
    log = RecoveryLog(means)
    try:
        done = _Ladder(Story(means, wishes, patience=wishes.wait), log).climb()
        log.ended(done.exit_code, done.error)
        return done
    except OpsError as error:
        log.ended(error.exit_code, error.info)
        if not isinstance(error, Interrupted):
            raise
        raise Interrupted(
            "interrupted",
            signum=error.exit_code - 128,
            why="what was done stays; what starts by itself after a boot stands aside for 15 minutes at most",
            next=f"{means.entry.command}   # goes on from what is there",
        ) from None


class _Ladder:
    """One recovery of one droplet."""

    def __init__(self, story: Story, log: RecoveryLog) -> None:
        self._story, self._log = story, log
        self._means, self._wishes = story.means, story.wishes
        self._before: Reading | None = None
        self._after: Reading | None = None
        self._away: ErrorInfo | None = None  # why it does not answer now
        self._was_away: ErrorInfo | None = None  # why it did not at first
        self._criteria: tuple[Criterion, ...] = ()
        self._since = 0.0  # the host's clock: no kill may be later
        self._console: CloudDroplet | None = None
        self._ahead: Future[CloudDroplet] | None = None  # the provider, asked while SSH was still waited for

    def climb(self) -> DropletResult[Recovery]:
        """From the bottom to the first rung that helps."""
        with ExitStack() as stack:
            link = self._first(stack)
            good = link is not None and self._good(self._before)
            if self._wishes.dry_run:
                return self._result()
            if not good:
                self._log.begun()
            if link is not None and (good or self._inside(link)):
                tidy(link, self._story)
                return self._result()
            if self._away is None:
                self._story.ended = no_boot_helps(self._story, self._before, self._after, self._criteria)
            if not self._story.ended and self._allowed(Rung.REBOOT):
                self._outside(link)
        return self._result()

    # The first look

    def _first(self, stack: ExitStack) -> Link | None:
        """A connection and what it showed; None when the droplet does not answer."""
        telling = self._story.told("look", "look at the droplet")
        while True:
            began = time.monotonic()
            try:
                self._listen()
                link = stack.enter_context(self._means.connect(_SLOW_LOGIN if self._was_away else 0.0))
                self._before = link.measure(self._means.cancel.child(_FIRST_LOOK))
            except (UnreachableError, DeadlineExceeded) as error:
                self._means.cancel.check("the first look")
                if error.info.code not in AWAY:
                    raise
                first, self._was_away = self._was_away, error.info
                if first is None and self._on_its_way(telling, quick=time.monotonic() - began < _QUICK):
                    continue
                self._away = error.info
                self._over(telling, f"it does not answer: {error.info.why or error.info.what}")
                return None
            looked = self._before.why
            self._story.boot_before = self._story.boot_after = looked.boot_id
            self._since = seconds_of(looked.taken) or 0.0
            self._over(telling, looked.answer[0])
            return link

    def _listen(self) -> None:
        """Raises UnreachableError where nobody speaks SSH. Who would be asked next is asked while that is found out."""
        with ThreadPoolExecutor(2, thread_name_prefix=f"{self._means.droplet.name}: look") as pool:
            heard = pool.submit(self._means.listen, self._means.cancel.child(_FIRST_LOOK))
            wait((heard,), _AT_ONCE)
            if not heard.done() and self._further(Rung.REBOOT) and not self._wishes.dry_run:
                self._ahead = pool.submit(cloud.look, self._story)
            heard.result()

    def _over(self, telling: Telling, words: str) -> None:
        """A look is no rung: it is told, and not kept."""
        telling.end(Outcome.UNCHANGED, words)
        self._story.climbs.pop()

    def _on_its_way(self, telling: Telling, *, quick: bool) -> bool:
        """Wait for a droplet that may be booting just now: whether SSH came.

        Somebody said no at once, so its system lives; or a run of ours that was cut short had asked for a boot.
        """
        left = max(self._wishes.gentle if quick else 0.0, cloud.asked_before(self._story, self._wishes.within))
        if left <= 0 or self._wishes.dry_run:
            return False
        self._ahead = None  # it will be out of date
        telling.waiting(f"SSH does not answer; it may be booting: waiting up to {show_duration(left)}")
        bound = self._means.cancel.child(left)
        while not self._means.knock(bound.child(_KNOCK)):
            if bound.wait(_EVERY):
                self._means.cancel.check("SSH")
                return False
        return True

    def _good(self, reading: Reading | None) -> bool:
        if reading is None:
            return False
        self._after = reading
        self._criteria = judge(
            reading,
            address=self._means.droplet.address,
            since=max(self._since, seconds_of(reading.why.booted) or 0.0),
            reserve=self._means.droplet.reserve,
            optimal=self._wishes.optimal,
        )
        return met(self._criteria)

    def _measured(self, link: Link, known: DropletFacts | None = None) -> bool:
        """Measure again. A droplet that does not answer any more has not recovered."""
        try:
            return self._good(link.measure(self._means.cancel.child(_LOOK), known))
        except (UnreachableError, DeadlineExceeded) as error:
            self._means.cancel.check("a look at the droplet")
            self._away = error.info
            return False

    # Rungs on a droplet that answers

    def _inside(self, link: Link) -> bool:
        reading = self._before
        assert reading is not None
        if reading.why.verdict == "engine":
            if start_engine(link, self._story).outcome is Outcome.FAILED or self._measured(link):
                return met(self._criteria)
            reading = self._after or reading
        return reading.facts is not None and self._services(link, reading)

    def _services(self, link: Link, reading: Reading) -> bool:
        """Restart what failed, then the fallback set; True when the criteria hold."""
        if failing := reading.failing():
            restart_failed(link, self._story, reading, failing, f"restart what failed: {', '.join(failing)}")
            if self._measured(link):
                return True
        optional_only = self._criteria and all(each.level == "optimal" for each in failed(self._criteria))
        if optional_only:
            bring_up(link, self._story, (), "bring up the rest, phase by phase")
            return self._measured(link)
        if held_ports(self._story.climbs) and self._further(Rung.REBOOT):
            return False  # no room is lacking, and the engine gives the port to nobody
        if not self._allowed(Rung.FALLBACK):
            return False
        if self._away is None and self._after is not None and self._after.facts is not None:
            fall_back(link, self._story, self._after)
            return self._measured(link)
        return False

    # Rungs that cut a running system

    def _outside(self, link: Link | None) -> None:
        name = self._means.droplet.name
        if link is not None and self._away is None and (held := held_ports(self._story.climbs)):
            why = f"It holds port {held[0]} for nobody; whatever runs there is stopped and started again."
            if not self._means.ask(f"Restart Docker on {name}? {why}"):
                self._story.ended = "you did not want the engine restarted"
                return
            if self._before is not None and self._with_a_new_engine(link, self._before):
                return
        if link is not None and self._away is None:
            if not self._means.ask(f"Reboot {name}? Whatever runs there is stopped and started again."):
                self._story.ended = "you did not want a reboot"
                return
            began = time.monotonic()
            if reboot(link, self._story).outcome is not Outcome.FAILED and self._comes_back(began):
                return
        self._through_the_provider(asked=link is not None and self._away is None)

    def _through_the_provider(self, *, asked: bool) -> None:
        name = self._means.droplet.name
        try:
            ahead, self._ahead = self._ahead, None  # used once: it is the state of that moment
            seen = self._console = ahead.result() if ahead is not None else cloud.look(self._story)
        except OpsError as error:
            self._means.cancel.check("the provider")
            self._story.ended = error.info.what + (f": {error.info.why}" if error.info.why else "")
            self._story.note(self._story.ended, "warning")
            return
        if seen.status == "off":
            if not self._means.ask(f"{name} is off. Switch it on?"):
                self._story.ended = "it is off, and you did not want it on"
                return
            began = time.monotonic()
            if cloud.act(self._story, "power-on", seen).outcome is not Outcome.FAILED and self._comes_back(began):
                return
        elif self._cloud_reboot(seen, asked):
            return
        self._power_cycle(seen)

    def _cloud_reboot(self, seen: CloudDroplet, asked: bool) -> bool:
        """True when the ladder ends here. A droplet that says nothing gets little time to follow a request."""
        name = self._means.droplet.name
        if not asked and not self._means.ask(f"{name} does not answer. Ask the provider to reboot it?"):
            self._story.ended = "you did not want a reboot"
            return True
        silent = self._away is not None and self._away.code != "refused" and self._further(Rung.POWER_CYCLE)
        within = self._wishes.gentle if silent else self._wishes.within
        if within <= 0:
            return False
        began = time.monotonic()
        if cloud.act(self._story, "cloud-reboot", seen, within).outcome is Outcome.FAILED:
            return False
        return self._comes_back(began, max(1.0, within - (time.monotonic() - began)) if silent else within)

    def _power_cycle(self, seen: CloudDroplet) -> None:
        if not self._allowed(Rung.POWER_CYCLE):
            return
        name = self._means.droplet.name
        if not self._means.ask(f"Power-cycle {name}? It is a hard cut under every database there."):
            self._story.ended = "you did not want a power-cycle"
            return
        began = time.monotonic()
        if cloud.act(self._story, "power-cycle", seen).outcome is not Outcome.FAILED:
            self._comes_back(began)

    def _with_a_new_engine(self, link: Link, seen: Reading) -> bool:
        """Restart the engine and bring back what ran, under a hold: a replay may be bound to the engine's start."""
        wanted = tuple(dict.fromkeys((*seen.required, *seen.up())))
        place_hold(link, self._story)
        try:
            if restart_engine(link, self._story).outcome is Outcome.FAILED:
                return False
            bring_up(link, self._story, wanted, f"bring up {', '.join(wanted)}")
            return self._measured(link)
        finally:
            lift_hold(link, self._story)

    # After a boot

    def _comes_back(self, began: float, within: float | None = None) -> bool:
        """Wait for the new boot and bring the minimum up; True when nothing harder is worth trying."""
        try:
            with next_boot(self._story, began, within or self._wishes.within) as link:
                self._away = None
                self._since = 0.0  # whatever this boot's kernel killed counts
                self._story.patience = max(self._wishes.wait, _FOLLOW)
                place_hold(link, self._story)
                try:
                    return self._after_boot(link)
                finally:
                    lift_hold(link, self._story)
        except (DeadlineExceeded, UnreachableError) as error:
            self._means.cancel.check("the next boot")
            if error.info.code not in (*AWAY, "not-back"):
                raise
            self._away = error.info
            self._criteria = ()
            return False

    def _after_boot(self, link: Link) -> bool:
        """A boot that came back ends the ladder: what is wrong then, another boot does not mend."""
        if not engine_is_back(link, self._story) and start_engine(link, self._story).outcome is Outcome.FAILED:
            self._measured(link)
            self._story.ended = "it came back without Docker"
            return True
        call = link.fresh(self._story.runs, "look at the stack")
        try:
            facts = call.facts()
        except UnreachableError as error:
            if error.info.code in AWAY:
                raise
            self._measured(link)
            return True
        minimum = required(merged(call, facts))
        title = "bring up all phases" if self._wishes.optimal else f"bring up {', '.join(minimum)}"
        names = () if self._wishes.optimal else minimum
        started = bring_up(link, self._story, names, title, facts)
        # A boot was allowed, and what it interrupted is milder than it was.
        if held_ports([started]) and restart_engine(link, self._story).outcome is not Outcome.FAILED:
            bring_up(link, self._story, names, title)
        if not self._measured(link, facts) and self._after is not None and self._after.facts is not None:
            bad = failed(self._criteria)
            if any(each.level == "minimum" for each in bad):
                fall_back(link, self._story, self._after)
                self._measured(link)
        return True

    # The end

    def _further(self, rung: Rung) -> bool:
        return _ORDER.index(rung) <= _ORDER.index(self._wishes.up_to)

    def _allowed(self, rung: Rung) -> bool:
        if self._further(rung):
            return True
        self._story.ended = self._story.ended or f"it may go no further than {self._wishes.up_to.value}"
        return False

    def _result(self) -> DropletResult[Recovery]:
        return report.result(
            self._story,
            before=self._before,
            after=self._after,
            away=self._away,
            was_away=self._was_away,
            criteria=self._criteria,
            seen=self._console,
        )
