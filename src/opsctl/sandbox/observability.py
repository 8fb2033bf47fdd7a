"""The cloud that a sandbox's metrics and traces go to: a real Prometheus that receives, and LangSmith's stand-in."""

from __future__ import annotations

import http.client
import io
import json
import secrets
import shlex
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, DeadlineExceeded, StepFailed
from opsctl.sandbox import outer, procs
from opsctl.sandbox.breakage_inside import inside
from opsctl.sandbox.identity import write_private
from opsctl.sandbox.kinds import PortTaken, Progress, Spec

ENV_FILE = "observability.env"
METRICS, TRACES = 19090, 19091  # the ports in there
FEEDS = ("agents", "prometheus")
_NOTE = "observability.json"
_READY = 60.0
_COMMAND = (
    f"python3 -I /cloud/langsmith.py {TRACES} /cloud/key & exec /cloud/prometheus --config.file=/cloud/prometheus.yml"
    f" --storage.tsdb.path=/cloud/data --web.enable-remote-write-receiver --web.listen-address=:{METRICS}"
)
# The program is the one of the droplet's own image: this machine need not have any.
_CARRY = """
set -o pipefail
docker exec "$1" sh -c 'id=$(docker create devtools/prometheus:2) && docker cp "$id:/usr/bin/prometheus" -
    code=$?; docker rm "$id" >/dev/null; exit $code' | docker cp - "$2:/cloud"
"""
# Compose reads this file, the services another one: what is added here changes no service that was created.
_ON = r"""
cd /opt/Dev-Tools/deploy || exit 1
[ -e ../config/alloy ] || { echo 'the droplet was made by an older opsctl: opsctl sandbox reset' >&2; exit 1; }
rm -f .env.new
(umask 027; { cat ../config/env/.env; printf '%s\n' COMPOSE_PROFILES=observability LANGSMITH_TRACING=true \
    "CLOUD_HOST=$1" "ALLOY_FEED=$2" "LANGSMITH_API_KEY=$3"; } > .env.new)
chgrp docker .env.new && mv .env.new .env
"""
_OFF = "cd /opt/Dev-Tools/deploy && ln -sfn ../config/env/.env .env"


@dataclass(frozen=True)
class Receiver:
    """Where metrics and traces arrive: loopback ports here, an address for the droplet, and what alloy feeds from."""

    metrics: int
    traces: int
    address: str
    feed: str
    container: str


def load(folder: Path) -> Receiver | None:
    """The receiver of a sandbox; None without one."""
    try:
        return Receiver(**json.loads((folder / _NOTE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def on(
    folder: Path,
    kind: str,
    specs: Sequence[Spec],
    feed: str,
    free_ports: Callable[[], tuple[int, int]],
    progress: Progress,
    cancel: Cancel,
) -> Receiver:
    """Leave the receiver running and the droplets' stack told of it; safe to repeat.

    It keeps its ports while nobody else has them. Raises ConfigError for a kind that cannot, StepFailed,
    DeadlineExceeded.
    """
    if kind != "container":
        raise ConfigError(
            "only a container droplet has a cloud side",
            why="the receiver is a container beside it",
            next="opsctl sandbox up --kind container --name NAME, then: opsctl sandbox observability on --name NAME",
            code="sandbox-kind",
        )
    there = load(folder)
    if not (folder / ENV_FILE).exists():
        write_private(folder / ENV_FILE, f"LANGSMITH_API_KEY=lsv2_pt_{secrets.token_hex(16)}_{secrets.token_hex(5)}\n")
    name = _name(specs[0])
    running = outer.attempt("container", "inspect", "-f", "{{.State.Running}}", name, cancel=cancel)[1] == "true"
    ports = (there.metrics, there.traces) if there is not None else free_ports()
    for last in (False, False, False, False, True):
        # Noted before it is there: whatever cuts this short, `down` finds it.
        write_private(folder / _NOTE, json.dumps(asdict(Receiver(*ports, "", feed, name))) + "\n")
        if running:
            break
        progress("starting the receiver of metrics and traces")
        try:
            _create(name, specs[0], ports, _key(folder), cancel)
            break
        except PortTaken as taken:
            if last:
                raise
            progress(f"{taken.info.what}: taking other ones")
            ports = free_ports()
    address = outer.docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", name, cancel=cancel)
    receiver = Receiver(*ports, address, feed, name)
    write_private(folder / _NOTE, json.dumps(asdict(receiver)) + "\n")
    _await(receiver, cancel)
    for spec in specs:
        # In the script's text, which goes over stdin: an argument list is for all to read.
        told = f"set -- {shlex.join((address, feed, _key(folder)))}\n{_ON}"
        code, said = inside(kind, spec).run(told, cancel=cancel)
        if code != 0:
            raise StepFailed(f"{spec.name} cannot be told of its receiver", why=said, next="opsctl sandbox reset")
    return receiver


def off(folder: Path, kind: str, specs: Sequence[Spec], cancel: Cancel) -> bool:
    """End the receiver, and let the stack be as it was; False when there was none."""
    there = end(folder, cancel)
    for spec in specs if there else ():
        inside(kind, spec).run(_OFF, cancel=cancel)
    return there


def end(folder: Path, cancel: Cancel) -> bool:
    """End the receiver with all it received; False when there was none."""
    there = load(folder)
    if there is not None:
        outer.remove_container(there.container, cancel)
    (folder / _NOTE).unlink(missing_ok=True)
    (folder / ENV_FILE).unlink(missing_ok=True)
    return there is not None


def _name(spec: Spec) -> str:
    return f"{_droplet(spec)}-cloud"


def _droplet(spec: Spec) -> str:
    try:
        return str(json.loads((spec.folder / "container.json").read_text())["container"])
    except (OSError, ValueError, KeyError):
        raise StepFailed(f"{spec.name} is not up", next="opsctl sandbox up") from None


def _key(folder: Path) -> str:
    return (folder / ENV_FILE).read_text().strip().partition("=")[2]


def _create(name: str, spec: Spec, ports: tuple[int, int], key: str, cancel: Cancel) -> None:
    droplet = _droplet(spec)
    image = outer.docker("inspect", "-f", "{{.Config.Image}}", droplet, cancel=cancel)
    outer.remove_container(name, cancel)
    outer.docker(
        *("create", f"--name={name}", f"--label=io.opsctl.sandbox={spec.name}", "--init", "--memory=512m"),
        *("--restart=unless-stopped", f"--publish=127.0.0.1:{ports[0]}:{METRICS}"),
        *(f"--publish=127.0.0.1:{ports[1]}:{TRACES}", image, "bash", "-c", _COMMAND),
        cancel=cancel,
    )
    procs.output(["docker", "cp", "-", f"{name}:/"], stdin=_files(key), cancel=cancel, timeout=30)
    procs.output(["bash", "-c", _CARRY, "carry", droplet, name], cancel=cancel, timeout=120)
    code, _, error = outer.attempt("start", name, cancel=cancel, timeout=60)
    if code == 0:
        return
    if outer.says_port_taken(error):
        raise PortTaken(f"port {ports[0]} or {ports[1]} is taken", why=error, next="opsctl sandbox observability on")
    raise StepFailed("the receiver could not be started", why=error, next="opsctl sandbox observability on")


def _files(key: str) -> bytes:
    program = Path(__file__).with_name("langsmith.py").read_text()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, text, mode in (
            ("cloud/langsmith.py", program, 0o644),
            ("cloud/key", key, 0o600),
            ("cloud/prometheus.yml", "global: {}\n", 0o644),
        ):
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(text.encode()), mode
            archive.addfile(info, io.BytesIO(text.encode()))
    return packed.getvalue()


def _await(receiver: Receiver, cancel: Cancel) -> None:
    bound = cancel.child(_READY)
    while not (_answers(receiver.metrics, "/-/ready") and _answers(receiver.traces, "/ok")):
        if bound.wait(0.1):
            cancel.check("the receiver")
            raise DeadlineExceeded(
                f"the receiver of metrics and traces did not answer within {_READY:.0f} s",
                why=f"ports {receiver.metrics} and {receiver.traces}",
                next="opsctl sandbox observability off, then on again",
            )


def _answers(port: int, path: str) -> bool:
    peer = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        peer.request("GET", path)
        return peer.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        peer.close()
