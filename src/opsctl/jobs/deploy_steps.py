"""Does the steps of `deploy` and `rollback` on one droplet, a startup's among them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from opsctl.jobs.call import Call
from opsctl.jobs.deploy_actions import (
    Adopt,
    Begin,
    FetchImages,
    Finish,
    GitCheckout,
    Put,
    PutBack,
    Recreate,
    RemoveOrphans,
    Retag,
    Room,
    Tidy,
)
from opsctl.jobs.gates import Operations
from opsctl.jobs.gates_memory import arithmetic, refusal
from opsctl.jobs.gates_probe import MEMINFO
from opsctl.jobs.startup_actions import MemoryGate
from opsctl.model.deploy import Bundle, Checkout, Deployer, HalfMade, Source
from opsctl.model.errors import StepFailed
from opsctl.model.events import Outcome
from opsctl.model.operate import DropletFacts
from opsctl.model.plan import Plan
from opsctl.model.ports import Completed
from opsctl.model.stack import Stack
from opsctl.spine.batch import Batch, Handler, Verdict
from opsctl.spine.journal import MOVED, chain

_FILES = 120.0  # s
_RECREATE = 240.0  # s; a stop takes its grace, and there may be several
_FETCH = 1800.0  # s; a build on one slow core
_KEEP = 120.0


class DeployOperations(Operations):
    """A startup's operations, and those of a deploy."""

    def __init__(
        self, call: Call, engine: Deployer, plan: Plan, facts: DropletFacts, stack: Stack, source: Source, release: str
    ) -> None:
        super().__init__(engine, plan, facts, stack, retry=call.entry.command, opsctl=call.opsctl)
        self._call = call
        self._deployer = engine
        self._source = source
        self.release = release
        self.kept_before = ""  # what was there, kept as a release by this run
        self._same: set[str] = set()  # recreated perhaps, and not after all: it runs on

    def handlers(self) -> Mapping[str, Handler]:
        """What the executor calls, by kind of action."""
        return {
            **super().handlers(),
            MemoryGate.kind: Handler(self._memory_left),
            Room.kind: Handler(self._room),
            Adopt.kind: Handler(self._adopt),
            Begin.kind: Handler(self._begin),
            Put.kind: Handler(self._put),
            PutBack.kind: Handler(self._put_back),
            GitCheckout.kind: Handler(self._checkout),
            Retag.kind: Handler(self._retag),
            FetchImages.kind: Handler(self._fetch),
            Tidy.kind: Handler(self._tidy),
            Recreate.kind: Handler(self._recreate, together=True),
            RemoveOrphans.kind: Handler(self._orphans),
            Finish.kind: Handler(self._finish),
        }

    def _meta(self, source: str, up: tuple[str, ...], git: Mapping[str, str], restart: tuple[str, ...] = ()) -> str:
        entry = self._call.entry
        return json.dumps(
            {
                "at": entry.started,
                "user": entry.actor.user,
                "from": entry.actor.origin,
                "command": entry.command,
                "plan": self._plan.id,
                "opsctl": entry.version,
                "source": source,
                "up": list(up),
                "restart": list(restart),
                "git": dict(git),
            },
            separators=(",", ":"),
        )

    # Memory

    def _room(self, batch: Batch) -> None:
        (step,) = batch.steps
        action = step.action
        assert isinstance(action, Room)
        gone = [each for each in self._facts.containers if each.id in action.replaces]
        used = self._engine.parse_usage(batch.read(self._engine.usage(gone), timeout=15.0).text) if gone else {}
        available = self._fresh(batch) + sum(used.values())
        gate = MemoryGate(action.expected, action.reserve)
        if gate.needs + gate.reserve > available and action.enforce:
            batch.failed(
                step.id,
                refusal(
                    "the build" if step.id == "room:build" else "the new state",
                    gate,
                    available,
                    self._rooms(batch),
                    self._retry,
                ),
            )
        else:
            batch.done(step, Outcome.UNCHANGED, arithmetic(gate, available))

    def _memory_left(self, batch: Batch) -> None:
        """What was perhaps recreated and runs on is in what is used already."""
        (step,) = batch.steps
        gate = step.action
        assert isinstance(gate, MemoryGate)
        left = tuple(each for each in gate.expected if each.service not in self._same)
        if not left:
            batch.done(step, Outcome.UNCHANGED, "what runs, runs on")
            return
        self._memory(replace(batch, steps=(replace(step, action=replace(gate, expected=left)),)))

    # Releases

    def _adopt(self, batch: Batch) -> None:
        (step,) = batch.steps
        action = step.action
        assert isinstance(action, Adopt)
        # Sorts right before the release of this run, which ends in random digits.
        name = f"{self.release.rpartition('-')[0]}-0"
        self.kept_before = name
        running = tuple(each.service for each in self._facts.containers if each.service and each.status == "running")
        meta = self._meta("what was there", running, action.git)
        self._must(
            batch.change(self._deployer.keep_release(name, action.files, meta=meta, adopt=True), timeout=_KEEP),
            "the state that is there could not be kept, and so nothing was changed",
        )
        batch.done(step, Outcome.CHANGED, f"kept as {name}")

    def _begin(self, batch: Batch) -> None:
        (step,) = batch.steps
        action = step.action
        assert isinstance(action, Begin)
        meta = self._meta(action.source, action.up, action.git, action.restart)
        script = self._deployer.begin_release(self.release, meta=meta)
        if action.release:
            script = self._deployer.begin_rollback(action.release, action.restart)
        self._must(batch.change(script, timeout=_FILES), "it could not be written down, and so nothing was changed")
        batch.done(step, Outcome.CHANGED, f"written down: {action.release or self.release} begins")

    def _finish(self, batch: Batch) -> None:
        (step,) = batch.steps
        action = step.action
        assert isinstance(action, Finish)
        if action.release:
            script = self._deployer.keep_release(action.release, (), meta="", adopt=False)
        else:
            script = self._deployer.keep_release(self.release, action.files, meta="", adopt=False)
        answer = batch.change(script, timeout=_KEEP)
        self._must(answer, "the release could not be kept")
        pruned = [line.split()[1:] for line in answer.text.splitlines() if line.startswith("@@pruned ")]
        gone = ", ".join(ident for ident, *status in pruned if status != ["done"])
        more = f"; dropped {gone}, which did not come to its end" if gone else ""
        batch.done(step, Outcome.CHANGED, f"{action.release or self.release} is in force{more}")

    # Files

    def _put(self, batch: Batch) -> None:
        (step,) = batch.steps
        action = step.action
        bundle = self._source.bundle
        assert isinstance(action, Put) and bundle is not None
        wanted = Bundle({path: bundle.files[path] for path, *_ in action.files})
        script = self._deployer.put_files(wanted, {path: old for path, old, *_ in action.files})
        self._must(batch.change(script, timeout=_FILES), "the files could not be put")
        batch.done(step, Outcome.CHANGED, _written([path for path, *_ in action.files]))

    def _put_back(self, batch: Batch) -> None:
        (step,) = batch.steps
        action = step.action
        assert isinstance(action, PutBack)
        script = self._deployer.put_release(action.release, action.kinds, [path for path, *_ in action.files])
        self._must(batch.change(script, timeout=_FILES), "the files could not be put back")
        batch.done(step, Outcome.CHANGED, _written([path for path, *_ in action.files]))

    def _checkout(self, batch: Batch) -> None:
        (step,) = batch.steps
        action = step.action
        assert isinstance(action, GitCheckout)
        checkout = Checkout(action.top, action.now, action.commit, action.remote)
        self._must(
            batch.change(self._deployer.checkout(checkout, action.ref, action.ours), timeout=_FILES),
            f"git could not check out {action.ref}",
        )
        batch.done(step, Outcome.CHANGED, action.commit[:10])

    # Images and containers

    def _retag(self, batch: Batch) -> None:
        (step,) = batch.steps
        action = step.action
        assert isinstance(action, Retag)
        self._must(batch.change(self._deployer.retag(action.images), timeout=_FILES), "the images could not be tagged")
        batch.done(step, Outcome.CHANGED, f"{len(action.images)} tagged")

    def _fetch(self, batch: Batch) -> None:
        (step,) = batch.steps
        action = step.action
        assert isinstance(action, FetchImages)
        script = self._deployer.fetch_images(action.verb, action.services)
        answer = batch.change(chain(script, MEMINFO), timeout=_FETCH)
        self._must(answer, f"compose could not {action.verb} {', '.join(action.services)}")
        self._seen.read(self._engine, answer.text)
        batch.done(step, Outcome.CHANGED, f"{action.verb} done")

    def _tidy(self, batch: Batch) -> None:
        (step,) = batch.steps
        action = step.action
        assert isinstance(action, Tidy)
        script = self._deployer.tidy(HalfMade(action.removes, action.renames))
        self._must(batch.change(script, timeout=_RECREATE), "what was half made could not be tidied up")
        batch.done(step, Outcome.CHANGED, "tidied up")

    def _recreate(self, batch: Batch) -> None:
        names = [step.service for step in batch.steps]
        self._seen.outdated()
        answer = batch.change(chain(self._deployer.recreate(names), MEMINFO), timeout=_RECREATE)
        self._must(answer, f"compose could not recreate {', '.join(names)}")
        found = self._engine.parse_created(answer.text)
        verdicts: dict[str, Verdict] = {}
        for step in batch.steps:
            action, now = step.action, found.get(step.service, "")
            assert isinstance(action, Recreate)
            self._ids[step.service] = now
            same = now == action.container
            if same:
                self._same.add(step.service)
            verdicts[step.id] = Verdict(
                Outcome.UNCHANGED if same else Outcome.CHANGED, "the same image" if same else "recreated"
            )
        self._seen.read(self._engine, answer.text)
        batch.board.settle(verdicts)

    def _orphans(self, batch: Batch) -> None:
        (step,) = batch.steps
        action = step.action
        assert isinstance(action, RemoveOrphans)
        ids = [ident for _, ident in action.containers]
        script = chain(self._engine.stop(ids, grace=None), self._engine.remove(ids))
        said = self._engine.parse_started(batch.change(script, timeout=_RECREATE).text)
        wrong = [text for text in said.values() if text and "no such container" not in text.lower()]
        if wrong:
            raise StepFailed("an orphan could not be removed", why=wrong[0], next="opsctl status")
        batch.done(step, Outcome.CHANGED, f"{len(ids)} removed")

    def _must(self, answer: Completed, what: str) -> None:
        if answer.code == 0:
            return
        said = [line.strip() for line in answer.error_text.splitlines() if line.strip()]
        assert answer.code != MOVED
        raise StepFailed(
            what,
            why=said[-1] if said else f"exit status {answer.code}",
            next="run it again",
            code="deploy-step-failed",
        )


def _written(paths: Sequence[str]) -> str:
    return f"{paths[0]} written" if len(paths) == 1 else f"{len(paths)} files written"
