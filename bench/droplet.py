"""The sandbox droplet of a bench: how to reach it, the state each contestant starts from, the state it must leave."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from plan import read_plan
from ruamel.yaml import YAML
from shelling import DidNotRun, run

BENCH = Path(__file__).resolve().parent
ENTRY = (
    '{{index .Config.Labels "com.docker.compose.service"}}|{{.Id}}|{{.Name}}|{{.State.Running}}|'
    "{{.State.StartedAt}}|{{.RestartCount}}"
)


@dataclass(frozen=True)
class Seen:
    """One container as the engine knows it."""

    id: str
    name: str
    running: bool
    started: str
    restarts: int


class Droplet:
    """A droplet of a stack file, with a connection of the bench's own for setting up and looking."""

    def __init__(self, stack_file: Path) -> None:
        self.stack_file = stack_file.absolute()
        data = YAML(typ="safe").load(stack_file.read_text())
        self.name, entry = next(iter(data["droplets"].items()))
        self.user, _, rest = entry["address"].rpartition("@")
        self.host, _, port = rest.partition(":")
        self.port = int(port or 22)
        self.key, self.known_hosts = entry["key"], entry["known_hosts"]
        self.folder = Path(tempfile.mkdtemp(prefix="bench-"))
        self.ssh_config = self.folder / "ssh_config"
        self.ssh_config.write_text(self._config())
        self.plan = read_plan(stack_file, self.name, phase=3)
        self._socket = self.folder / "own"

    def __enter__(self) -> Droplet:
        run(["ssh", "-F", str(self.ssh_config), "-M", "-S", str(self._socket), "-fN", "droplet"])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # A boot ends the connection, too: then nobody is there to be told.
        argv = ["ssh", "-F", str(self.ssh_config), "-S", str(self._socket), "-O", "exit", "droplet"]
        subprocess.run(argv, capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _config(self) -> str:
        return (
            f"Host droplet\n  HostName {self.host}\n  Port {self.port}\n  User {self.user}\n"
            f"  IdentityFile {self.key}\n  IdentitiesOnly yes\n  UserKnownHostsFile {self.known_hosts}\n"
            "  StrictHostKeyChecking yes\n  BatchMode yes\n  LogLevel ERROR\n"
        )

    def sh(self, script: str, *, timeout: float = 300) -> str:
        """Run a bash script there over the bench's own connection; its stdout. Raises DidNotRun."""
        argv = ["ssh", "-F", str(self.ssh_config), "-S", str(self._socket), "droplet", "bash", "-s"]
        return run(argv, stdin=script, timeout=timeout)

    def seen(self) -> dict[str, Seen]:
        """The stack's containers by service."""
        found = {}
        listing = self.sh(
            "ids=$(docker ps -aq --filter label=com.docker.compose.project); "
            f"[ -z \"$ids\" ] || docker inspect -f '{ENTRY}' $ids"
        )
        for line in listing.splitlines():
            service, identity, name, running, started, restarts = line.split("|")
            found[service] = Seen(identity, name.lstrip("/"), running == "true", started, int(restarts))
        return found

    def create(self) -> None:
        """Create the containers of the plan as compose does, and start none: the state opsctl leaves before a phase."""
        names = shlex.join(each.name for each in self.plan.services)
        file = shlex.quote(self.plan.compose)
        self.sh(
            f"docker compose --progress quiet -f {file} up --no-start --no-recreate --no-build --pull never {names}"
        )
        names_of = {service: each.name for service, each in self.seen().items()}
        self.plan = replace(self.plan, containers=names_of)
        (self.folder / "plan.tsv").write_text(self.plan.lines())
        (self.folder / "plan.json").write_text(self.plan.variables())

    def remove_all(self) -> None:
        """Remove every container, whoever made it; images, volumes and networks stay."""
        self.sh('ids=$(docker ps -aq); [ -z "$ids" ] || docker rm -f $ids >/dev/null')

    def stop_all(self) -> dict[str, Seen]:
        """Stop the stack (nothing is removed), let the engine settle, and say what is there."""
        self.sh('ids=$(docker ps -q); [ -z "$ids" ] || docker stop -t 5 $ids >/dev/null; sync')
        time.sleep(1)
        seen = self.seen()
        if still := [name for name, each in seen.items() if each.running]:
            raise DidNotRun(f"could not be stopped: {', '.join(still)}")
        return seen

    def verify(self, before: dict[str, Seen], *, untouched: bool) -> None:
        """The end state every contestant must leave: these services answer, no other runs, none was recreated.

        With `untouched` nothing may have been restarted either. Raises DidNotRun.
        """
        after = self.seen()
        wanted = {each.name for each in self.plan.services}
        running = {name for name, each in after.items() if each.running}
        if running != wanted:
            raise DidNotRun(f"should run: {sorted(wanted)}; runs: {sorted(running)}")
        for name in wanted:
            if after[name].id != before[name].id:
                raise DidNotRun(f"{name} was recreated")
            if untouched and after[name] != before[name]:
                raise DidNotRun(f"{name} was restarted")
            if after[name].restarts:
                raise DidNotRun(f"{name} crashed and was restarted by the engine")
        self._probe()

    def _probe(self) -> None:
        lines = (self.folder / "plan.tsv").read_text().splitlines()
        checks = [(BENCH / "probe.sh").read_text(), "set -e"]
        for line in lines:
            _, service, container, kind, target, _ = line.split("\t")
            asked = shlex.join(["answers", container, kind, target])
            checks.append(f"{asked} || {{ echo {shlex.quote(service)} does not answer >&2; exit 1; }}")
        self.sh("\n".join(checks))
