"""From a survey to a plan: what `deploy` and `rollback` would do. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from opsctl.jobs.boot import note
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
)
from opsctl.jobs.deploy_drift import kept_files, mounted_changes, orphans, recreated
from opsctl.jobs.deploy_images import retags, to_fetch
from opsctl.jobs.deploy_options import DeployPlan, Options
from opsctl.jobs.deploy_order import for_a_boot, proved_last
from opsctl.jobs.deploy_refuse import kept_already
from opsctl.jobs.deploy_tidy import tidy_step
from opsctl.jobs.deploy_words import diffs, notes, said
from opsctl.jobs.startup_actions import Expected, MemoryGate, Stop
from opsctl.jobs.startup_plan import Planned, plan
from opsctl.jobs.startup_select import Options as StartOptions
from opsctl.jobs.startup_select import by_dependency, one_shots, phase_of
from opsctl.jobs.startup_steps import FindSql, expected
from opsctl.model.boot import BootState
from opsctl.model.deploy import Release, Source, Survey
from opsctl.model.engine import Container
from opsctl.model.operate import DropletFacts
from opsctl.model.plan import GuardFact, Plan, Step
from opsctl.model.stack import Droplet, Service, Stack

_LIVE = ("running", "restarting", "paused")


def plan_deploy(
    survey: Survey,
    stack: Stack,
    droplet: Droplet,
    source: Source,
    options: Options,
    *,
    command: str = "deploy",
    release: Release | None = None,
    find_sql: FindSql = lambda _: None,
    again: str = "",
) -> DeployPlan:
    """The steps that bring the droplet to the surveyed state. `release`: to go back to; `again`: the command."""
    return _Planner(survey, stack, droplet, source, options, release, find_sql, again).plan(command)


@dataclass
class _Planner:
    survey: Survey
    stack: Stack
    droplet: Droplet
    source: Source
    options: Options
    release: Release | None
    find_sql: FindSql
    again: str
    head: list[Step] = field(default_factory=list)

    def plan(self, command: str) -> DeployPlan:
        survey = self.survey
        self.facts = survey.facts
        self.images = dict(survey.images)
        turned = retags(survey, self.release, self.images)
        self.recreate = recreated(survey, self.images)
        self.unfinished = self._unfinished()
        stale = mounted_changes(survey)
        # Its file may have been put by a run that was cut short before it was started anew.
        stale |= dict.fromkeys(self.unfinished.restart if self.unfinished else (), "a file that it has mounted")
        self.restart = {n: p for n, p in stale.items() if n not in self.recreate and self._live(n)}
        self.fetch = to_fetch(
            survey,
            self.stack,
            self.droplet,
            self.images,
            self.recreate,
            pull=self.options.pull,
            build=self.options.build,
            again=self.again,
        )
        self.maybe = {name for names in self.fetch.values() for name in names if self.facts.of(name) is not None}
        self.maybe -= set(self.recreate)
        up = self._up()
        started = plan(
            self._facts_as_if(up),
            self.stack,
            replace(self.droplet, boot="docker"),  # what a boot needs is woven in below, for the recreated ones too
            StartOptions(only=tuple(each.name for each in up) or ("",), settle=self.options.settle)
            if up
            else StartOptions(skip=tuple(self.stack.services)),
            command=command,
            find_sql=self.find_sql,
        )
        gone = orphans(survey) if self.options.remove_orphans else ()
        files = [each for each in survey.files if each.differs]
        moving = bool(survey.checkout and survey.checkout.commit != survey.checkout.now)
        rest = self._rest(up)
        body = self._body(list(started.plan.steps), up)
        worth = bool(files or moving or turned or survey.half or rest or gone or self.unfinished or self.fetch)
        worth = worth or any(step.action.kind in ("create", "recreate", "stop", "start") for step in body)
        worth = worth or (self.release is not None and not self.release.current)
        first = not any(each.current for each in survey.releases)
        if worth:
            self._begin(up, turned)
            last = self.head[-1].id
            body = [each if each.needs else replace(each, needs=(last,)) for each in body]
            tail = self._tail(body, rest, [(each.service, each.id) for each in gone], last)
            names = [each.name for each in up]
            every = [*self.head, *body, *tail]
            steps = tuple(for_a_boot(every, self.facts, self.stack, self.droplet, names))
        elif first:
            steps = (self._adopt(), *[replace(each, needs=each.needs or ("adopt",)) for each in body])
        else:
            steps = tuple(body)
        said_already = tuple(note for note in started.notes if "differs from the compose file" not in note)
        removing, cut = self.options.remove_orphans, None if self.release else self.unfinished
        more = notes(survey, self.source, self.recreate, rest, cut, removing=removing)
        return DeployPlan(
            Planned(Plan(command, steps), (*said_already, *more, *note(self.facts, self.droplet))),
            diffs(survey, self.recreate, self.restart, self.maybe, removing=self.options.remove_orphans),
            tuple(each.service for each in orphans(survey)),
            self.recreate,
        )

    def _unfinished(self) -> Release | None:
        """The run that was cut short, if the last one was."""
        back = [each for each in self.survey.releases if each.back]
        newest = self.survey.releases[:1]
        return next((each for each in (*back, *newest) if each.back or (each.status == "begun")), None)

    # Which services

    def _live(self, name: str) -> bool:
        container = self.facts.of(name)
        return container is not None and container.status in _LIVE

    def _up(self) -> list[Service]:
        """What shall run in the end: what runs, what an unfinished deploy was to bring up, and what is new."""
        names = {name for name in self.facts.compose if self._live(name)}
        if self.unfinished:
            names |= set(self.unfinished.up)
        if self.release:
            names |= set(self.release.up)
        names |= one_shots(self.facts) & set(self.recreate)
        phases = [phase_of(self.stack.services[name]) for name in names if name in self.stack.services]
        highest = max(phases, default=0)
        if not any(self.facts.of(name) for name in self.facts.compose):
            highest = max((each.phase or 0 for each in self.stack.services.values()), default=0)
        if self.options.phase is not None:
            highest = max(highest, self.options.phase)
        for name, service in self.stack.services.items():
            absent = name in self.facts.compose and self.facts.of(name) is None
            asked = self.options.phase is not None and (service.phase or 99) <= self.options.phase
            if service.phase is not None and service.phase <= highest and (absent or asked):
                names.add(name)
        return [each for each in self.stack.services.values() if each.name in names and each.name in self.facts.compose]

    def _rest(self, up: Sequence[Service]) -> list[str]:
        """What differs and does not run: recreated, and left as it is, stopped."""
        names = {each.name for each in up}
        ordered = by_dependency([self.stack.services[n] for n in self.recreate if n in self.stack.services], self.facts)
        return [each.name for each in ordered if each.name not in names]

    def _facts_as_if(self, up: Sequence[Service]) -> DropletFacts:
        """The facts of the moment when what is recreated has been: it is there, under another id, and stopped."""
        names = {each.name for each in up}
        found = tuple(self._as_if(each, names) for each in self.facts.containers)
        return replace(self.facts, containers=found, drift=frozenset(), missing_images=frozenset(), boot=BootState())

    def _as_if(self, each: Container, up: set[str]) -> Container:
        if each.project != self.facts.project or each.oneoff or each.service not in up:
            return each
        if each.service in self.recreate or each.service in self.maybe:
            compose = self.facts.compose[each.service]
            ports = {port: ("127.0.0.1", out) for port, out in compose.ports.items()}
            test = compose.health_test or each.health_test
            return replace(each, id="", status="exited", exit_code=1, health="", ports=ports, health_test=test)
        if each.service in self.restart:
            return replace(each, status="exited", exit_code=1, health="")
        return each

    # Steps

    def _adopt(self) -> Step:
        model = self.survey.old_model or self.survey.model
        raw = self.survey.old_raw or self.survey.raw
        files, checkout = kept_files(self.survey, model, raw), self.survey.checkout
        clean = checkout is not None and not checkout.dirty and self.source.kind == "ref"
        git = {"top": checkout.top, "commit": checkout.now} if checkout and clean else {}
        return Step("adopt", "keep what is there now as a release", Adopt(files, git))

    def _add(self, step: Step) -> None:
        before = (self.head[-1].id,) if self.head else ()
        self.head.append(replace(step, needs=before))

    def _begin(self, up: Sequence[Service], turned: tuple[tuple[str, str], ...]) -> None:
        survey = self.survey
        self._room(up)
        if "build" in self.fetch:
            build = Room((Expected("build", self.options.build_memory, "--build-memory"),), (), self.droplet.reserve)
            build = replace(build, enforce=not self.options.ignore_memory)
            self._add(Step("room:build", "see whether the build fits", build))
        if self._must_adopt() and self.facts.containers:
            self._add(self._adopt())
        git = {}
        if survey.checkout:
            git = {"top": survey.checkout.top, "commit": survey.checkout.commit, "ref": self.source.ref}
        names = tuple(each.name for each in up)
        if self.release is None:
            begin = Begin(said(self.source), names, git, restart=tuple(self.restart))
            self._add(Step("begin", "write the new release down", begin))
        else:
            begin = Begin("", names, {}, self.release.id, tuple(self.restart))
            self._add(Step("begin", f"write down that release {self.release.id} comes back", begin))
        if survey.half:
            self._add(tidy_step(survey.half))
        self._files()
        if turned:
            title = f"let {', '.join(ref for ref, _ in turned)} mean the images of then"
            self._add(Step("retag", title, Retag(turned)))
        for verb, services in self.fetch.items():
            self._add(Step(f"images:{verb}", f"{verb} {', '.join(services)}", FetchImages(verb, services)))

    def _must_adopt(self) -> bool:
        """Whether what is there now is kept nowhere yet. What an unfinished deploy left half done is not worth it."""
        current = next((each for each in self.survey.releases if each.current), None)
        if current is None:
            return True
        if half := self.unfinished:
            # But for files that somebody edited here: what is to be put over them would be the end of them.
            mine = half.source == said(Source("place")) and not half.back
            return mine and self.source.kind != "place" and bool(current.moved)
        fresh = [
            each.path for each in self.survey.files if each.differs and each.old and each.path not in current.files
        ]
        ran = {each.service: each.id for each in current.images}
        swapped = [n for n in self.facts.compose if n in ran and (c := self.facts.of(n)) and c.image_id != ran[n]]
        # An env file that was edited since stays, and comes with the new release; unless this very run puts another.
        lost = set(current.moved_env) & {each.path for each in self.survey.files if each.differs}
        # What was edited in place for this very run has not run yet: there is nothing to go back to in it.
        ran_already = self.source.kind != "place" or not (self.recreate or self.restart)
        return bool((current.moved and ran_already) or lost or fresh or swapped)

    def _files(self) -> None:
        survey, source = self.survey, self.source
        checkout = survey.checkout
        files = [each for each in survey.files if each.differs]
        inside = checkout is not None and any(each.path.startswith(f"{checkout.top}/") for each in files)
        if checkout and (checkout.commit != checkout.now or (inside and source.kind == "ref")):
            ours = kept_already(survey)
            action = GitCheckout(checkout.top, checkout.now, checkout.commit, checkout.remote, source.ref, ours)
            self._add(Step("checkout", f"check out {source.ref} ({checkout.commit[:10]}) in {checkout.top}", action))
        files = [each for each in files if each.new]
        if source.kind == "push" and source.bundle and files:
            modes = {path: f"{mode:o}" for path, (_, mode) in source.bundle.files.items()}
            put = Put(tuple((each.path, each.old, each.new, modes[each.path]) for each in files))
            self._add(Step("put", f"put {', '.join(each.path for each in files)}", put))
        if source.kind == "release" and files:
            put_back = PutBack(source.release, source.kinds, tuple((e.path, e.old, e.new) for e in files))
            self._add(Step("put-back", f"put back {', '.join(each.path for each in files)}", put_back))

    def _room(self, up: Sequence[Service]) -> None:
        fresh = [each for each in up if not self._live(each.name) or each.name in self.recreate]
        must = [expected(each, self.facts) for each in fresh if not each.optional]
        if must:
            goes = tuple(c.id for each in fresh if self._live(each.name) and (c := self.facts.of(each.name)))
            action = Room(tuple(must), goes, self.droplet.reserve, not self.options.ignore_memory)
            self._add(Step("room", "see whether it fits, before anything is touched", action))

    def _body(self, steps: list[Step], up: Sequence[Service]) -> list[Step]:
        """The steps of the start, with the recreates and stops of a phase right before its memory gate."""
        made: list[Step] = []
        for step in steps:
            action = step.action
            if isinstance(action, MemoryGate):
                names = {each.service for each in action.expected}
                before = [
                    self._replaced(each, step.needs) for each in up if each.name in names and self._replaces(each)
                ]
                made += before
                step = replace(
                    step,
                    needs=tuple(dict.fromkeys((*step.needs, *[each.id for each in before]))),
                    action=replace(action, enforce=action.enforce and not self.options.ignore_memory),
                )
            made.append(step)
        return proved_last(made, self._is_optional)

    def _replaces(self, service: Service) -> bool:
        known = service.name in self.recreate or service.name in self.maybe or service.name in self.restart
        return known and self.facts.of(service.name) is not None

    def _replaced(self, service: Service, needs: tuple[str, ...]) -> Step:
        name, phase, container = service.name, phase_of(service), self.facts.of(service.name)
        assert container is not None
        guards = (GuardFact("container-id", name, container.id),)
        if name in self.restart:
            stop = Stop(name, container.id)
            title = f"stop {name}: {self.restart[name]} changes"
            return Step(f"stop:{name}", title, stop, name, phase, needs, guards)
        return self._recreate_step(name, phase, needs, container)

    def _recreate_step(self, name: str, phase: int, needs: tuple[str, ...], container: Container) -> Step:
        maybe = name in self.maybe
        why = "if the image is another one" if maybe else self.recreate[name]
        guards = (
            GuardFact("container-id", name, container.id),
            GuardFact("file-hash", "compose", self.facts.file_hash),
        )
        action = Recreate(name, container.id, why, maybe)
        return Step(f"recreate:{name}", f"recreate {name}: {why}", action, name, phase, needs, guards)

    def _tail(
        self, body: Sequence[Step], rest: Sequence[str], gone: Sequence[tuple[str, str]], last: str
    ) -> list[Step]:
        must = [each.id for each in body if not getattr(each.action, "optional", False) and not self._is_optional(each)]
        tail: list[Step] = []
        needs = tuple(dict.fromkeys((*must, last)))
        for name in rest:
            container = self.facts.of(name)
            assert container is not None
            tail.append(self._recreate_step(name, phase_of(self.stack.services[name]), needs, container))
        if gone:
            title = f"remove {', '.join(name for name, _ in gone)}, which the file no longer has (volumes stay)"
            tail.append(Step("orphans", title, RemoveOrphans(tuple(gone)), needs=needs))
        files = kept_files(self.survey, self.survey.model, self.survey.raw)
        ends = tuple(dict.fromkeys((*needs, *[each.id for each in tail])))
        after = tuple(each.id for each in body if each.id not in ends)
        finish = Finish(files, self.release.id if self.release else "", after)
        title = "keep the new state as a release" if self.release is None else f"release {self.release.id} is in force"
        tail.append(Step("finish", title, finish, needs=ends))
        return tail

    def _is_optional(self, step: Step) -> bool:
        known = self.stack.services.get(step.service)
        return bool(step.service and known and known.optional)
