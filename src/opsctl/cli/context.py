"""The one place where adapters are chosen and built."""

from __future__ import annotations

import os
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from opsctl.cli.process import Process
from opsctl.cli.process import question as asked
from opsctl.jobs.fleet import run_fleet
from opsctl.model.cancel import Cancel
from opsctl.model.errors import UsageError
from opsctl.model.following import about
from opsctl.model.result import CommandResult, DropletResult
from opsctl.model.secret import Secret
from opsctl.model.stack import Droplet, Stack
from opsctl.spine.processes import new_run_id

if TYPE_CHECKING:
    from opsctl.hosts.knock import Knocker
    from opsctl.model.cloud import Cloud
    from opsctl.model.deploy import Deployer
    from opsctl.model.droplet_app import Packer
    from opsctl.model.measures import Gauges
    from opsctl.model.memory_facts import MemoryReader
    from opsctl.model.operate import Operator
    from opsctl.model.ports import Host, Shell
    from opsctl.model.probing import Evidence
    from opsctl.model.why import WhyReader

T = TypeVar("T")


@dataclass(frozen=True)
class Session:
    """One droplet, connected at first use. `reads` repeats a read once when the connection drops under it."""

    droplet: Droplet
    stack: Stack
    host: Host
    reads: Shell
    engine: Operator
    cancel: Cancel
    cloud_of: Callable[[Droplet], Cloud]
    gauges: Gauges

    @property
    def cloud(self) -> Cloud:
        """The account that the droplet is rented with; nothing is asked there before it is used."""
        return self.cloud_of(self.droplet)

    def engine_of(self, droplet: Droplet) -> Operator:
        """The engine over this connection for a droplet that is known better by now: another project, another file."""
        from opsctl.docker.engine import DockerEngine

        return DockerEngine(self.reads, droplet)

    @property
    def deployer(self) -> Deployer:
        """The engine, with what a deploy needs beyond starting and stopping."""
        from opsctl.docker.deployer import DockerDeployer

        return DockerDeployer(self.reads, self.droplet)

    @property
    def evidence(self) -> Evidence:
        """Asks the APIs where metrics and traces arrive."""
        from opsctl.cloud.evidence import HttpEvidence

        return HttpEvidence()

    @property
    def memory(self) -> MemoryReader:
        """Reads the droplet's memory."""
        from opsctl.docker.memory import DockerMemory

        return DockerMemory(self.droplet)

    @property
    def packer(self) -> Packer:
        """Collects opsctl as it is put onto a droplet."""
        from opsctl.hosts.packer import LocalPacker

        return LocalPacker()

    def packer_with(self, more: tuple[str, ...]) -> Packer:
        """The same, with these distributions besides."""
        from opsctl.hosts.packer import LocalPacker

        return LocalPacker(more)

    @property
    def knock(self) -> Callable[[Cancel], bool]:
        """Asks whether anybody speaks SSH there, in the cheapest way."""
        from opsctl.hosts.knock import Knocker

        return Knocker(self.droplet)

    @property
    def listen(self) -> Callable[[Cancel], None]:
        """The same with the patience of a login; raises UnreachableError with the reason."""
        from opsctl.hosts.knock import Knocker

        return Knocker(self.droplet).listen

    @property
    def why(self) -> WhyReader:
        """Reads what died on the droplet."""
        from opsctl.docker.why import DockerWhy

        return DockerWhy(self.droplet)


class Context:
    """What one call of a command works with."""

    def __init__(
        self,
        ctx: typer.Context,
        *,
        stack: Path | None = None,
        droplets: Sequence[str] | None = None,
        yes: bool = False,
        verbose: int = 0,
        wait: str | None = None,
        resume: str | None = None,
    ) -> None:
        process: Process = ctx.obj
        self.process = process
        self.cancel = process.cancel
        self.redact = process.redact
        self.yes = yes
        self.verbose = verbose
        self.resume = resume  # a run, or "last"
        # A parameter that the command has, whether it was given or not.
        self.resumable = any(each.name == "resume" for each in ctx.command.params)
        self.name = ctx.command_path.partition(" ")[2]
        self._wait = wait
        self._stack_path = stack
        self._named = tuple(droplets or ())
        self._question = threading.Lock()
        self._clouds: dict[str, Cloud] = {}

    @cached_property
    def run_id(self) -> str:
        """As `new_run_id`, the same for all that this command does."""
        return new_run_id()

    @cached_property
    def wait(self) -> float:
        """Seconds to wait for a lease that somebody else holds. Raises UsageError."""
        from opsctl.model.units import parse_duration

        text = self._wait or "0s"
        try:
            return parse_duration(float(text) if text.replace(".", "", 1).isdigit() else text)
        except ValueError as error:
            raise UsageError(f"--wait: {error}", next=f"opsctl {self.name} --wait 5m") from None

    @cached_property
    def stack(self) -> Stack:
        """The stack file, validated whole before anything is connected."""
        from opsctl.model.stackfile import load_stack

        return load_stack(self._stack_path, droplets=self._named, learn=self.redact.learn)

    def droplets(self, *, reading: bool) -> tuple[Droplet, ...]:
        """The droplets this call is about: named, the only one, or (for reads) all of them.

        Raises UsageError for a change with several droplets and none named.
        """
        every = tuple(self.stack.droplets.values())
        if "all" in self._named:
            return every
        if self._named:
            return tuple(self.stack.droplets[name] for name in dict.fromkeys(self._named))
        if reading or len(every) == 1:
            return every
        names = ", ".join(self.stack.droplets)
        raise UsageError(
            f"this changes a droplet, and the stack has {len(every)}: {names}",
            why="opsctl does not guess which one to change",
            next=f"{self.command_line} -d {every[0].name}   (or -d all)",
        )

    @property
    def command_line(self) -> str:
        """This call as it was typed, for `next` lines."""
        return self.redact(shlex.join(["opsctl", *self.process.argv]))

    @contextmanager
    def session(self, droplet: Droplet, *, patience: float = 0.0) -> Iterator[Session]:
        """Everything a job needs on one droplet; the connection ends with the block. `patience` as `connect` has it."""
        from opsctl.cli.gauges import StoreGauges
        from opsctl.docker.engine import DockerEngine
        from opsctl.hosts import connect, reading
        from opsctl.stores.probes import measure

        asks = self._on_terminal
        host = connect(
            droplet,
            confirm_host_key=self._confirm_host_key if asks else None,
            ask_passphrase=self._ask_passphrase if asks else None,
            patience=patience,
        )
        gauges = StoreGauges(self, measure)
        try:
            reads = reading(host)
            engine = DockerEngine(reads, droplet)
            yield Session(droplet, self.stack.on(droplet), host, reads, engine, self.cancel, self.cloud, gauges)
        finally:
            gauges.close()
            host.close()

    def knocker(self, droplet: Droplet) -> Knocker:
        """Asks whether anybody speaks SSH there, without a login."""
        from opsctl.hosts.knock import Knocker

        return Knocker(droplet)

    def cloud_token(self, droplet: Droplet) -> Secret:
        """The token of the account that a droplet is rented with. Raises ConfigError."""
        from opsctl.cloud.token import find_token

        folder = Path(self.stack.path).resolve().parent if self.stack.path else Path.cwd()
        found = find_token(droplet.provider, environ=os.environ, folder=folder)
        self.redact.learn(found)
        return found

    def cloud(self, droplet: Droplet) -> Cloud:
        """The account that a droplet is rented with."""
        from opsctl.cloud import connect_cloud

        with self._question:
            if droplet.name not in self._clouds:
                folder = Path(self.stack.path).parent if self.stack.path else Path.cwd()
                self._clouds[droplet.name] = connect_cloud(droplet.provider, learn=self.redact.learn, folder=folder)
            return self._clouds[droplet.name]

    def over(self, job: Callable[[Session], DropletResult[T]], *, reading: bool) -> CommandResult[T]:
        """Run a job on every droplet this call is about, side by side."""

        def one(droplet: Droplet) -> DropletResult[T]:
            with self.session(droplet) as session:
                return job(session)

        result = run_fleet(self.droplets(reading=reading), one)
        return CommandResult(
            tuple(
                replace(each, error=replace(each.error, next=self.about(each.error.next, each.name)))
                if each.error is not None
                else each
                for each in result.droplets
            )
        )

    def about(self, following: str, droplet: str) -> str:
        """A `next`, with the droplet in it where the command would not know which one is meant."""
        return following if len(self.stack.droplets) == 1 and self.stack.path else about(following, droplet)

    def one(self) -> Droplet:
        """The one droplet of a command that can only talk to one. Raises UsageError."""
        chosen = self.droplets(reading=True)
        if len(chosen) != 1:
            words = len(self.name.split())  # of the command; what comes after it may be somebody else's options
            command, rest = self.process.argv[:words], self.process.argv[words:]
            typed = self.redact(shlex.join(["opsctl", *command, "-d", chosen[0].name, *rest]))
            raise UsageError(
                f"this command talks to one droplet, and there are {len(chosen)}",
                why=", ".join(each.name for each in chosen),
                next=f"name one of them: -d {chosen[0].name}" if self._named else typed,
            )
        return chosen[0]

    def confirm(self, question: str, *, instead: str = "--yes") -> None:
        """Ask before something is changed. Without a terminal a question is a failure, not a wait.

        Raises UsageError when nobody can be asked, typer.Abort on no.
        """
        if self.yes:
            return
        if not self._on_terminal:
            raise UsageError(question, why="there is no terminal to ask on", next=f"{self.command_line} {instead}")
        with asked(self.process):
            typer.confirm(question, abort=True, err=True)

    def confirm_name(self, question: str, name: str, given: Sequence[str]) -> None:
        """Ask for a name before something is done that cannot be undone; `given` by --confirm. --yes is no answer.

        Raises UsageError when nobody can be asked or the name is another one.
        """
        if name in given:
            return
        retry = f"{self.command_line} --confirm {name}"
        if given or not self._on_terminal:
            why = f"--confirm {given[0]} names something else" if given else "there is no terminal to ask on"
            raise UsageError(question, why=why, next=retry)
        with asked(self.process):
            typed = typer.prompt(f"{question}\nType {name} to go on", default="", show_default=False, err=True)
        if typed.strip() != name:
            raise UsageError("that is not its name, and nothing was begun", why=f"it is {name}", next=self.command_line)

    @property
    def on_terminal(self) -> bool:
        """Whether a person can be asked."""
        return self._on_terminal

    @property
    def _on_terminal(self) -> bool:
        return sys.stdin.isatty() and sys.stderr.isatty()

    def _confirm_host_key(self, host: str, kind: str, fingerprint: str) -> bool:
        with self._question, asked(self.process):
            sys.stderr.write(f"The host key of {host} is not known yet.\n  {kind} {fingerprint}\n")
            return typer.confirm("Is this the fingerprint you expect?", err=True)

    def _ask_passphrase(self, path: str) -> Secret | None:
        with self._question, asked(self.process):
            given = typer.prompt(f"Passphrase of {path} (empty: try without)", default="", hide_input=True, err=True)
        return Secret(given) if given else None
