"""`migrate qdrant-to-cloud --switch`: the copy in the middle of a switch, and the way back around a rollback."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from opsctl.model.errors import ConfigError, ExitCode, OpsError, UsageError
from opsctl.model.secret import Secret
from opsctl.spine.processes import new_run_id

if TYPE_CHECKING:
    from opsctl.cli.context import Context
    from opsctl.cli.migrating import After, Shared, Stores
    from opsctl.jobs.call import Call
    from opsctl.jobs.qdrant_switch import Before, Switching
    from opsctl.model.migrate import Receipt
    from opsctl.model.migrate_shown import Action

_FILE = "switch.json"  # in the run's folder: what a way back needs


@dataclass(frozen=True)
class Wanted:
    """What was asked for on the command line."""

    services: tuple[str, ...]
    stop: str
    url: str
    collection: str
    proof: str
    from_: str
    to: str


@dataclass
class Switch:
    """One call with --switch. `copy` runs the migration, given what to do once it is verified."""

    context: Context
    shared: Shared
    wanted: Wanted
    copy: Callable[[After | None], ExitCode]
    prove: Callable[[], tuple[str, ...]]  # counts and content of both sides; raises GateFailed
    done: bool = field(default=False, init=False)

    def run(self) -> ExitCode:
        """Switch, or take a switch back, whichever the call is for."""
        going_on = self.context.process.going_on
        action = going_on.action if going_on else "run"
        if going_on:
            self.context.yes = going_on.yes
            self.shared = replace(self.shared, as_json=going_on.as_json)
        if action not in ("run", "rollback"):
            return self.copy(None)
        with self._switching() as switching:
            if action == "rollback":
                return self._back(switching, going_on.run_id if going_on else "")
            kept = self._kept(going_on.run_id) if going_on else None
            before = kept or switching.look()
            if self.shared.dry_run:
                return self._shown(switching)
            return self._forth(switching, before)

    def _forth(self, switching: Switching, before: Before) -> ExitCode:
        switching.quiet()

        def after(stores: Stores, action: Action, receipt: Receipt) -> tuple[str, ...]:
            if receipt.outcome != "complete":
                return (f"nothing was switched: the copy is {receipt.outcome}",)
            said = self.prove()
            self._keep(receipt.run_id, before)
            try:
                switching.switch()
            except OpsError as error:
                raise self._taken_back(switching, before, error, receipt.run_id) from None
            self.done = True
            names = ", ".join(switching.wish.services)
            stays = f"{switching.wish.local} is stopped; its points stay in its volume" if switching.wish.local else ""
            return (*said, f"{names} use the new one", *filter(None, (stays,)))

        try:
            code = self.copy(after)
        except OpsError as error:
            if not self.done and not self.context.cancel.cancelled:
                self._up_again(switching)
            elif not self.done:
                services = " ".join(f"--only {each}" for each in self.wanted.services)
                error.info = replace(
                    error.info, next=f"{error.info.next}\nopsctl startup {services}   # stopped for the switch".strip()
                )
            raise
        if not self.done:
            self._up_again(switching)
        return code

    def _back(self, switching: Switching, run_id: str) -> ExitCode:
        kept = self._kept(run_id)
        if kept is not None:
            names = ", ".join(self.wanted.services)
            self.context.confirm(f"Start {switching.wish.local or 'nothing'}, and send {names} back to it?")
            switching.back(kept)
        return self.copy(None)

    def _taken_back(self, switching: Switching, before: Before, error: OpsError, run_id: str) -> OpsError:
        """The failure, with the services back where they were; or with the command that brings them there."""
        back = f"opsctl migrate rollback {run_id}"
        if self.context.cancel.cancelled:
            error.info = replace(error.info, next=f"{error.info.next}\n{back}   # takes the switch back".strip())
            return error
        try:
            switching.back(before)
        except OpsError as second:
            why = f"{error.info.why}; taking it back failed, too: {second.info.what}".strip("; ")
            error.info = replace(error.info, why=why, next=back)
            return error
        self.done = True  # nothing is left to be started again
        error.info = replace(error.info, why=f"{error.info.why}; the services are back where they were".strip("; "))
        return error

    def _up_again(self, switching: Switching) -> None:
        switching.say("nothing was switched: the services start again as they were")
        switching.start()

    def _shown(self, switching: Switching) -> ExitCode:
        wish = switching.wish
        names = ", ".join(wish.services)
        steps = (
            f"stop {names}",
            "copy and verify what has changed, compare both sides",
            f"set {', '.join(wish.values)} in the env file of {names}",
            "opsctl deploy: recreate what has another environment then",
            f"start {names}" + (f", and wait for {wish.proof!r} in the log" if wish.proof else ""),
            f"stop {wish.local}, last"
            if wish.local
            else "stop nothing: no service of the old Qdrant is known (--stop)",
        )
        for number, text in enumerate(steps, 1):
            switching.say(f"would {number}. {text}")
        return self.copy(None)

    @contextmanager
    def _switching(self) -> Iterator[Switching]:
        from opsctl.cli.changing import call_of
        from opsctl.jobs.qdrant_switch import Switching, Wish, local_service
        from opsctl.render.progress import progress
        from opsctl.render.qdrant import print_step

        droplet = self.context.stack.droplets[self._droplet()]
        with (
            self.context.session(droplet) as session,
            progress(as_json=True, many=False, redact=self.context.redact) as reporter,
        ):

            def call() -> Call:
                own = replace(session, engine=session.deployer)  # one that has seen nothing yet
                return call_of(self.context, own, reporter, ahead=False, run_id=new_run_id())

            def say(text: str) -> None:
                if not self.shared.as_json:
                    print_step(self.context.redact(text))

            local = self.wanted.stop or local_service(call(), self._candidates())
            values = {name: value for name, value in self._values().items() if value is not None}
            yield Switching(call, Wish(self.wanted.services, local, values, self.wanted.proof), say)

    def _droplet(self) -> str:
        """The droplet on which the services are: that of the way to the source, else the only one."""
        stack = self.context.stack
        store = stack.stores.get(self.wanted.from_)
        via = store["via"].reveal() if store is not None and "via" in store else ""
        name = self.shared.from_via or via or (next(iter(stack.droplets)) if len(stack.droplets) == 1 else "")
        if name not in stack.droplets:
            raise UsageError(
                "--switch: it is not known on which droplet the services are",
                why="the source is reached through none, and the stack has several" if not name else f"no {name}",
                next="add `via: DROPLET` to the store in the stack file, or --from-via DROPLET",
            )
        return name

    def _candidates(self) -> tuple[str, ...]:
        """What the service of the old Qdrant may be called."""
        from urllib.parse import urlsplit

        store = self.context.stack.stores.get(self.wanted.from_)
        url = store["qdrant"].reveal() if store is not None and "qdrant" in store else self.wanted.from_
        return (urlsplit(url).hostname or "qdrant", "qdrant")

    def _values(self) -> Mapping[str, Secret | None]:
        from opsctl.cli.stores import Stores

        store = self.context.stack.stores.get(self.wanted.to)
        via = self.shared.to_via or (store["via"].reveal() if store is not None and "via" in store else "")
        if via and not self.wanted.url:
            raise ConfigError(
                f"--to is reached through {via}, and the services may not know it by that address",
                next="--service-url URL   (as the services see it)",
            )
        with Stores(self.context, stack=self.shared.stack) as stores:
            url = self.wanted.url or stores.target(self.wanted.to, ("qdrant",), flag="--to").url.reveal()
        return {
            "QDRANT_URL": Secret(url),
            "QDRANT_API_KEY": store["api_key"] if store is not None and "api_key" in store else None,
            "QDRANT_COLLECTION": Secret(self.wanted.collection) if self.wanted.collection else None,
        }

    def _keep(self, run_id: str, before: Before) -> None:
        """Write down what was, once: a second attempt would find what the first one has set."""
        from opsctl.spine.run_folder import RunFolder

        if self._kept(run_id) is None:
            RunFolder.of(run_id).write(_FILE, asdict(before))

    def _kept(self, run_id: str) -> Before | None:
        from opsctl.jobs.qdrant_switch import Before
        from opsctl.spine.run_folder import RunFolder

        found: Mapping[str, Any] | None = RunFolder.of(run_id).read(_FILE)
        return Before(found["values"]) if found else None
