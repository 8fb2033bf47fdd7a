"""Services that use a local Qdrant are sent to another one, in an order in which nobody writes to the one left behind.

The services stop first, so that what is copied then is the last word; the local container stops last, when everything
else has been proved. Until that moment taking it all back is a matter of env files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from opsctl.jobs.call import Call
from opsctl.jobs.deploy import deploy, known_files
from opsctl.jobs.deploy_drift import recreated
from opsctl.jobs.deploy_options import Options
from opsctl.jobs.deploy_source import folder_of, in_place
from opsctl.jobs.env import set_several
from opsctl.jobs.env_files import Where, env_files, text_of, the_file
from opsctl.jobs.env_text import value_of, with_value
from opsctl.jobs.startup import startup
from opsctl.jobs.startup_select import Options as StartOptions
from opsctl.jobs.stop import stop
from opsctl.model.deploy import Bundle, Deployer, Source, Survey
from opsctl.model.errors import ConfigError, ExitCode, OpsError, StepFailed, UsageError
from opsctl.model.result import DropletResult
from opsctl.model.secret import Secret
from opsctl.model.stack import Origin, Service, Stack

R = TypeVar("R")


@dataclass(frozen=True)
class Wish:
    """What shall be used where. `local` is the service of the Qdrant that is left, "" where there is none to stop."""

    services: tuple[str, ...]
    local: str
    values: Mapping[str, Secret]  # of the services' environment
    proof: str  # a line that a service logs once it has reached the new one; "" for none


@dataclass(frozen=True)
class Before:
    """What a way back needs: the variables as they were, by service, None for one that was not set."""

    values: Mapping[str, Mapping[str, str | None]]


@dataclass(frozen=True)
class Switching:
    """One switch on one droplet. `call` makes a call with a run of its own, `say` tells a person what happens now."""

    call: Callable[[], Call]
    wish: Wish
    say: Callable[[str], None]

    def look(self, *, again: bool = False) -> Before:
        """What there is now. Changes nothing. `again`: a switch was begun already, and so files may differ.

        Raises UsageError, ConfigError for what would not work.
        """
        call, wish = self.call(), self.wish
        survey = _survey(call, Source("place"))
        if not again and (other := recreated(survey, survey.images)):
            raise ConfigError(
                f"{', '.join(other)} differ from their files already, and would be recreated too",
                why="a switch recreates what differs, and should change nothing else",
                next="opsctl deploy --dry-run   (then opsctl deploy)",
            )
        for name in (*wish.services, *filter(None, (wish.local,))):
            if name not in survey.facts.compose:
                known = ", ".join(survey.facts.compose)
                raise UsageError(
                    f"there is no service {name}", why=f"the compose file has {known}", next="opsctl status"
                )
        if wish.local in wish.services:
            raise UsageError(
                f"{wish.local} cannot be switched and left behind", next="--switch the service that uses it"
            )
        files, kept = env_files(call, survey), {}
        for name in wish.services:
            path = the_file(call, survey, files, Where(service=name), None)
            text = text_of(call, path)
            kept[name] = {each: value_of(text, each) for each in wish.values}
            self._reaches(call, name, path, text)
        return Before(kept)

    def quiet(self) -> None:
        """Stop whoever writes to the one that is left."""
        self.say(f"stop {', '.join(self.wish.services)}: nobody writes while the last points are copied")
        _must(stop(self.call(), self.wish.services))

    def switch(self) -> None:
        """Send the services to the new one, prove that they use it, and stop the old one, last."""
        names = ", ".join(self.wish.services)
        self.say(f"set {', '.join(self.wish.values)} for {names}")
        self._set(dict.fromkeys(self.wish.services, self.wish.values))
        self.recreate()
        self.start(self.wish.proof)
        if self.wish.local:
            self.say(f"stop {self.wish.local}, last")
            _must(stop(self.call(), (self.wish.local,)))

    def back(self, before: Before) -> None:
        """The old one up again, and the services back to it. Safe at every point of a switch, and to repeat."""
        if self.wish.local:
            self.say(f"start {self.wish.local}")
            _must(startup(self.call(), StartOptions(only=(self.wish.local,))))
        self.say(f"put {', '.join(self.wish.values)} back for {', '.join(self.wish.services)}")
        old = {
            service: {name: None if value is None else Secret(value) for name, value in values.items()}
            for service, values in before.values.items()
        }
        self._set(old)
        self.recreate()
        self.start()

    def recreate(self) -> None:
        """Let containers have what the files say. Whoever shares an env file with them is recreated, too."""
        call = self.call()
        self.say("recreate what differs from its files")
        _must(deploy(call, in_place(folder_of(call.droplet, "", known_files(call))), Options()))

    def start(self, proof: str = "") -> None:
        """Start the services, each gated on health and, with `proof`, on that line in its log since its start."""
        more = f", until the log says {proof!r}" if proof else ""
        self.say(f"start {', '.join(self.wish.services)}{more}")
        call = self.call()
        if proof:
            call = replace(call, stack=_proved(call.stack, self.wish.services, proof))
        _must(startup(call, StartOptions(only=self.wish.services)))

    def _set(self, values: Mapping[str, Mapping[str, Secret | None]]) -> None:
        for service, wanted in values.items():
            _must(set_several(self.call(), wanted, Where(service=service)))

    def _reaches(self, call: Call, service: str, path: str, text: str) -> None:
        """Raise ConfigError where the compose file gives a variable itself: the env file would not be heard."""
        for name, value in self.wish.values.items():
            text = with_value(text, name, value.reveal())
        bundle = Bundle({path: (text.encode(errors="surrogateescape"), 0o600)})
        model = _survey(call, Source("push", bundle=bundle)).model
        environment = model["services"][service].get("environment") or {}
        for name, value in self.wish.values.items():
            if str(environment.get(name)) != value.reveal():
                raise ConfigError(
                    f"{service} would not take {name} from {path}",
                    why="its `environment:` in the compose file gives it, and that wins over an env file",
                    next=f"write {name}: ${{{name}}} there, or take the line out; then opsctl deploy",
                )


def local_service(call: Call, names: Sequence[str]) -> str:
    """The first of these names that is a service of the compose file, "" where none is."""
    compose = _survey(call, Source("place")).facts.compose
    return next((name for name in names if name in compose), "")


def _survey(call: Call, source: Source) -> Survey:
    return cast(Deployer, call.engine).survey(source, cancel=call.cancel)


def _proved(stack: Stack, services: tuple[str, ...], proof: str) -> Stack:
    """The stack in which these services have one more line to log."""
    known, origins = dict(stack.services), dict(stack.origins)
    for name in services:
        service = known.get(name, Service(name))
        known[name] = replace(service, proof=(*service.proof, *(() if proof in service.proof else (proof,))))
        origins.setdefault(f"services.{name}.proof", Origin("--proof"))
    return replace(stack, services=known, origins=origins)


def _must(done: DropletResult[R]) -> R:
    """The result. Raises StepFailed, with the exit code that the job ended with, where it did not end well."""
    if done.exit_code is ExitCode.DONE and done.error is None and done.result is not None:
        return done.result
    error: Any = done.error
    what = error.what if error else "a step did not end well"
    failed: OpsError = StepFailed(what, why=error.why if error else "", next=error.next if error else "opsctl status")
    failed.exit_code = done.exit_code if done.exit_code is not ExitCode.DONE else ExitCode.FAILED
    raise failed
