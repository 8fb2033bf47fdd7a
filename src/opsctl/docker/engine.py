"""Docker and compose on one droplet: reads at once, builds the scripts that change."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence

from opsctl.docker import diagnose, engine_scripts, facts, probe
from opsctl.docker.compose import ComposeCall
from opsctl.model.cancel import Cancel
from opsctl.model.engine import Container, ProbeSpec, ProbeState
from opsctl.model.errors import ConfigError
from opsctl.model.operate import Diagnosis, DropletFacts
from opsctl.model.plan import GuardFact
from opsctl.model.ports import Script, Shell
from opsctl.model.stack import Droplet, Then

_READ_TIMEOUT = 60.0  # s; a busy droplet that swaps needs long for three compose calls


class DockerEngine:
    """Implements the Operator port over a Shell."""

    def __init__(self, shell: Shell, droplet: Droplet, *, state_dir: str = "/var/lib/opsctl") -> None:
        self._shell = shell
        self._droplet = droplet
        self._state_dir = state_dir
        self._socket = (droplet.socket or "").removeprefix("unix://")
        self._call: ComposeCall | None = None
        self._rootless = False

    def facts(self, *, cancel: Cancel) -> DropletFacts:
        """Read the state of the stack in one remote call; changes nothing.

        Raises UnreachableError when the engine or compose cannot be used, ConfigError when compose rejects the file.
        """
        script = facts.facts_script(self._droplet, state_dir=self._state_dir)
        answer = self._shell.run(script, cancel=cancel, timeout=_READ_TIMEOUT)
        found, self._call = facts.parse_facts(self._droplet, answer.text)
        self._rootless = found.engine.rootless
        return found

    @property
    def _compose(self) -> ComposeCall:
        if self._call is None:
            raise ConfigError("the compose project is not known yet", why="facts() has not been read")
        return self._call

    def create(self, services: Sequence[str]) -> Script:
        """Create what is missing (compose), and nothing else: no recreate, build, pull or start.

        Dependencies are created along with their dependents: `--no-deps` would give a container another hash.
        """
        words = self._compose.arguments()
        return Script(engine_scripts.CREATE, (self._socket, self._compose.project, str(len(words)), *words, *services))

    def parse_created(self, output: str) -> Mapping[str, str]:
        """Service → container id from what `create` printed."""
        lines = (line.split() for line in output.splitlines() if line.startswith("@@created "))
        return {words[1]: words[2] for words in lines if len(words) == 3}

    def start(self, containers: Sequence[str]) -> Script:
        """Start containers by id, side by side."""
        return self._each(("start",), containers)

    def stop(self, containers: Sequence[str], *, grace: float | None) -> Script:
        """Stop containers by id, side by side; `grace` in seconds, None for the container's own."""
        bound = () if grace is None else ("-t", str(round(grace)))
        return self._each(("stop", *bound), containers)

    def remove(self, containers: Sequence[str]) -> Script:
        """Remove containers by id; their volumes stay."""
        return self._each(("rm", "-f"), containers)

    def _each(self, verb: Iterable[str], containers: Sequence[str]) -> Script:
        return Script(engine_scripts.EACH, (self._socket, *verb, "--", *containers))

    def parse_started(self, output: str) -> Mapping[str, str]:
        """Container id → what went wrong, "" where nothing did."""
        found: dict[str, str] = {}
        for line in output.splitlines():
            if line.startswith("@@each "):
                _, container, code, *said = line.split(" ", 3)
                found[container] = "" if code == "0" else (said[0].strip() if said else "") or f"exit status {code}"
        return found

    def parse_since(self, output: str) -> str:
        """The host's clock (s) right before the first container was started."""
        return next((line.split()[1] for line in output.splitlines() if line.startswith("@@since ")), "")

    def guards(self, facts: Sequence[GuardFact]) -> Script:
        """Fail with exit status 86 and the fact that does not hold any more."""
        words: list[str] = []
        for guard in facts:
            subject = self._hashed_files() if guard.fact == "file-hash" else guard.subject
            words += [guard.fact, subject, guard.value]
        return Script(engine_scripts.GUARDS, (self._socket, self._compose.project, *words))

    def _hashed_files(self) -> str:
        call = self._compose
        folder = call.working_dir or (call.files[0].rpartition("/")[0] or ".")
        return shlex.join([*call.files, *call.env_files, f"{folder}/.env"])

    def probe(
        self,
        specs: Sequence[ProbeSpec],
        *,
        interval: float,
        since: str = "",
        watch: Mapping[str, str] | None = None,
        settle: float = 0.0,
        one_shot: frozenset[str] = frozenset(),
        tolerant: frozenset[str] = frozenset(),
        grace: float = 0.7,
    ) -> Script:
        """A loop that prints every change of state until all have passed or one that matters has failed."""
        return probe.probe_script(
            specs,
            interval=interval,
            since=since,
            settle=settle,
            watch=watch or {},
            one_shot=one_shot,
            tolerant=tolerant,
            socket=self._socket,
            direct=not self._rootless,
            grace=grace,
        )

    def parse_probe(self, line: str) -> ProbeState | None:
        """One line of `probe`'s output; None for what is not a state."""
        return probe.parse_probe(line)

    def parse_available(self, line: str) -> int | None:
        """MemAvailable in bytes, where a line carries it."""
        return probe.parse_available(line)

    def then(self, service: str, container: str, step: Then, *, stdin: bytes | None, mark: str) -> Script:
        """Run a `command` or `sql` step in a container; a non-empty `mark` is left on the host when it succeeded."""
        head = (self._socket, self._state_dir, service, mark, container)
        if step.kind == "command":
            return Script(engine_scripts.THEN_COMMAND, (*head, *step.words))
        path = step.words[0]
        if stdin is not None:
            return Script(engine_scripts.THEN_SQL, (*head, "stdin", path), stdin=stdin)
        if path.startswith("container:"):
            return Script(engine_scripts.THEN_SQL, (*head, "container", path.removeprefix("container:")))
        return Script(engine_scripts.THEN_SQL, (*head, "host", path))

    def diagnose(self, service: str, container: str) -> Script:
        """Read everything about a failed service in one call; changes nothing."""
        return diagnose.diagnose_script(container, self._socket)

    def parse_diagnosis(self, service: str, output: str, *, seen: ProbeState | None = None) -> Diagnosis:
        """What `diagnose` printed, with the likely cause; `seen` is what a probe saw before."""
        return diagnose.parse_diagnosis(service, output, seen)

    def usage(self, containers: Sequence[Container]) -> Script:
        """Read what these running containers use now, from their cgroups."""
        pairs = [word for each in containers if each.pid for word in (each.id, str(each.pid))]
        return Script(engine_scripts.USAGE, tuple(pairs))

    def parse_usage(self, output: str) -> Mapping[str, int]:
        """Container id → bytes that stopping it would give back."""
        lines = (line.split() for line in output.splitlines() if line.startswith("@@usage "))
        return {words[1]: int(words[2]) for words in lines}
