"""Does the steps of a move on one droplet, a deploy's among them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType

from opsctl.jobs.deploy_actions import Put
from opsctl.jobs.deploy_steps import DeployOperations
from opsctl.jobs.volumes_actions import CopyVolume, MarkVolume, ProveVolume, RemoveVolume, StartAgain
from opsctl.jobs.volumes_look import library
from opsctl.model.deploy import Bundle
from opsctl.model.errors import StepFailed
from opsctl.model.events import Outcome
from opsctl.model.plan import Step
from opsctl.model.ports import Script
from opsctl.model.units import show_size
from opsctl.model.volumes import Phase, Record, Side
from opsctl.spine.batch import Batch, Handler

_BLOCK = 10_240  # bytes; what tar counts in
_SLOWEST = 2_000_000  # bytes a second that are waited for
_LEAST, _MOST = 300.0, 86_400.0  # s
_SHORT = 60.0
_RECREATE = 110.0  # s; within what the executor gives to taking back

# $1 socket, $2 this volume's folder of the state
_HEAD = r"""
[ -z "$1" ] || export DOCKER_HOST="unix://$1"
work=$2; shift 2
"""
# $1 from, $2 its name, $3 to, $4 its name, $5 the host's folder, $6 what the target is, $7 how it was left, $8 record
_COPY = r"""
if [ -n "$7" ]; then
  sums "$3" "$4" last
  [ "$(sum_of "$4")" = "$7" ] || { printf '@@other\n'; exit 1; }
fi
claim "$3" "$6" "$8" "$5"
copy "$1" "$3" first; sums "$1" "$2" first; sums "$3" "$4" first
exit 0
"""
# as above without $7, then $8… the containers that start again if this ends before its time
_PROVE = r"""
from=$1 source=$2 to=$3 target=$4 path=$5 folder=$6 lines=$7; shift 7; stopped=("$@")
trap 'again "${stopped[@]}"' TERM HUP  # not "$@": in a trap those are of the function that it comes over
claim "$to" "$folder" "$lines" "$path"
prove "$from" "$source" "$to" "$target"
"""
# $1 the host's folder, $2 record
_MARK = 'record "$2" "$(stat -c %d:%i -- "$1")"\n'
_REMOVE = 'docker volume rm -- "$1" >/dev/null && rm -rf -- "$work"\n'


class VolumeOperations(DeployOperations):
    """A deploy's operations, and those of a move; `before` is the compose file as it was."""

    before: Bundle | None = None
    sides: tuple[Side, ...] = ()
    stopped: float | None = None
    answered: float | None = None
    started = False
    _written: Mapping[str, str] = MappingProxyType({})  # path → digest of what this run put

    @property
    def downtime(self) -> float | None:
        """Seconds from the first stop until the gate was passed, as seen from here."""
        if self.stopped is None or self.answered is None:
            return None
        return round(self.answered - self.stopped, 3)

    def handlers(self) -> Mapping[str, Handler]:
        """What the executor calls, by kind of action."""
        return {
            **super().handlers(),
            CopyVolume.kind: Handler(self._copy),
            ProveVolume.kind: Handler(self._prove),
            MarkVolume.kind: Handler(self._mark),
            StartAgain.kind: Handler(self._again, together=True),
            RemoveVolume.kind: Handler(self._remove_volume),
        }

    # What a deploy does, with what has to be known of it

    def _stop(self, batch: Batch) -> None:
        self.stopped = self.stopped or time.monotonic()
        super()._stop(batch)

    def _put(self, batch: Batch) -> None:
        action = batch.steps[0].action
        assert isinstance(action, Put)
        self._written = {path: new for path, _, new, _ in action.files}
        super()._put(batch)

    def _start(self, batch: Batch) -> None:
        self.started = True
        super()._start(batch)

    def _gate(self, batch: Batch) -> None:
        super()._gate(batch)
        self.answered = time.monotonic()

    # Copies

    def _script(self, volume: str, text: str, *args: str) -> Script:
        socket = self._facts.engine.socket
        head = (socket if socket.startswith("/") else "", f"{self._call.state_dir}/volumes/{volume}")
        return Script(library() + _HEAD + text, (*head, *args))

    def _record(self, action: CopyVolume | ProveVolume | MarkVolume, phase: Phase, checksum: str = "") -> str:
        entry = self._call.entry
        return Record(action.volume, action.path, phase, checksum, entry.started, entry.actor.user).lines()

    def _ends(self, action: CopyVolume | ProveVolume) -> tuple[str, ...]:
        names = ("volume", "host") if action.towards == "host" else ("host", "volume")
        return (action.source, names[0], action.target, names[1], action.path, action.folder)

    def _copy(self, batch: Batch) -> None:
        (step,) = batch.steps
        action = step.action
        assert isinstance(action, CopyVolume)
        lines = self._record(action, "copying" if action.towards == "host" else "returning")
        script = self._script(action.volume, _COPY, *self._ends(action), action.left, lines)
        copied = self._followed(batch, step, script, action.size)
        batch.done(step, Outcome.CHANGED, f"{copied} copied" if copied else "there already")

    def _prove(self, batch: Batch) -> None:
        (step,) = batch.steps
        action = step.action
        assert isinstance(action, ProveVolume)
        lines = self._record(action, "copying" if action.towards == "host" else "returning")
        script = self._script(action.volume, _PROVE, *self._ends(action), lines, *action.containers)
        copied = self._followed(batch, step, script, action.size)
        if len(self.sides) != 2 or self.sides[0].checksum != self.sides[1].checksum:
            raise StepFailed("the proof gave half an answer", next=self._retry, code="not-proved")
        what = self.sides[0]
        more = f"; {copied} copied since" if copied else ""
        batch.done(step, Outcome.CHANGED, f"{what.files} files, {show_size(what.bytes)}, the same on both sides{more}")

    def _followed(self, batch: Batch, step: Step, script: Script, size: int) -> str:
        """Run a copying script, telling how far it is; what it had to copy, in words."""
        whole, copied, other = 0, "", False
        bound = min(_MOST, _LEAST + 2 * size / _SLOWEST)
        try:
            for line in batch.watch(script, timeout=bound):
                word, *rest = line.split(" ")
                if word == "@@todo":
                    whole = int(rest[1])
                    copied = f"{rest[0]} files, {show_size(whole)}"
                    batch.board.waiting(step, f"copies {copied}")
                elif word == "@@at":
                    done = min(int(rest[0]) * _BLOCK, whole)
                    batch.board.waiting(step, f"{show_size(done)} of {show_size(whole)}")
                elif word == "@@unread" and rest[1] != "0":
                    batch.board.waiting(step, f"reads {rest[1]} files of the {rest[0]}")
                elif word == "@@side":
                    self._side(step, rest)
                elif word == "@@other":
                    other = True
        except StepFailed as error:
            raise self._not_copied(step, error, other) from None
        return copied

    def _not_copied(self, step: Step, error: StepFailed, other: bool) -> StepFailed:
        why = error.info.why or error.info.what
        if not other or not isinstance(step.action, CopyVolume):
            return StepFailed("the data could not be copied", why=why, next=self._retry, code="copy-failed")
        record = f"{self._call.state_dir}/volumes/{step.action.volume}/record"
        return StepFailed(
            f"{step.action.target} is not as it was left: somebody else has written there since",
            why="what was left behind by the move before is written over only while nobody has touched it",
            next=f"on the droplet: find {step.action.target} -newer {record}",
            code="not-as-left",
        )

    def _side(self, step: Step, words: list[str]) -> None:
        action = step.action
        assert isinstance(action, ProveVolume)
        first = (words[0] == "volume") == (action.towards == "host")
        place = action.source if first else action.target
        self.sides = (*self.sides, Side(place, int(words[1]), int(words[2]), words[3]))

    def _mark(self, batch: Batch) -> None:
        (step,) = batch.steps
        action = step.action
        assert isinstance(action, MarkVolume)
        checksum = action.checksum or (self.sides[0].checksum if self.sides else "")
        script = self._script(action.volume, _MARK, action.path, self._record(action, action.phase, checksum))
        self._must(batch.change(script, timeout=_SHORT), "it could not be written down where the data is")
        batch.done(step, Outcome.CHANGED, "written down")

    def _again(self, batch: Batch) -> None:
        if self.started:  # the new container runs, or ran, at the new place: there is nothing to take back
            return
        names = [step.service for step in batch.steps]
        if self._written and self.before is not None:
            olds = dict(self._written)
            self._must(batch.change(self._deployer.put_files(self.before, olds), timeout=_SHORT), "the file stays new")
            answer = batch.change(self._deployer.recreate(names), timeout=_RECREATE)
            self._must(answer, f"compose could not recreate {', '.join(names)}")
            self._ids.update(self._engine.parse_created(answer.text))
        super()._start(batch)

    def _remove_volume(self, batch: Batch) -> None:
        (step,) = batch.steps
        action = step.action
        assert isinstance(action, RemoveVolume)
        answer = batch.change(self._script(action.volume, _REMOVE, action.volume), timeout=_SHORT)
        self._must(answer, f"{action.volume} could not be removed")
        batch.done(step, Outcome.CHANGED, f"{action.volume} removed")


def undone_by(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps that start again what a run stopped."""
    return tuple(
        Step(f"again:{step.service}", f"start {step.service} again", step.undo, step.service, step.phase)
        for step in steps
        if isinstance(step.undo, StartAgain)
    )
