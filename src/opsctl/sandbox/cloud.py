"""The stand-in for the provider's API: started with its sandbox, found again, mended, ended."""

from __future__ import annotations

import hashlib
import http.client
import json
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opsctl.model.cancel import Cancel
from opsctl.model.errors import StepFailed, UnreachableError
from opsctl.sandbox import vm_process
from opsctl.sandbox.identity import write_private

TOKEN = "cloud-token"  # noqa: S105 - the name of a file
PIDFILE = "pid"
_START = 20.0
_PORT_TAKEN = 4


def ensure(sandbox: str, folder: Path, port: int, free_port: Callable[[], int], cancel: Cancel) -> int:
    """Leave it running and answering; the port it has then. Raises StepFailed with its last words."""
    here = folder / "cloud"
    here.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder / TOKEN).exists():
        # Looks like the vendor's, so that whatever searches for tokens finds this one too.
        write_private(folder / TOKEN, f"dop_v1_{secrets.token_hex(32)}\n")
    if port and answers(folder, port):
        return port
    vm_process.kill(here, PIDFILE)
    for _ in range(5):
        port = port or free_port()
        if _start(sandbox, folder, port, cancel):
            return port
        port = 0
    raise StepFailed("the cloud's stand-in finds no free port", next=f"opsctl sandbox up --name {sandbox}")


def end(folder: Path) -> None:
    """End it; none is fine."""
    vm_process.kill(folder / "cloud", PIDFILE)


def forget(folder: Path) -> None:
    """End it, and forget what it knew: the droplets are made anew. Token and port stay."""
    end(folder)
    (folder / "cloud" / "state.json").unlink(missing_ok=True)


def answers(folder: Path, port: int) -> bool:
    """Whether this sandbox's own stand-in answers there, made of this code."""
    if vm_process.owner(folder / "cloud", PIDFILE) is None:
        return False
    try:
        return bool(ask(folder, port, "GET", "/sandbox/about", timeout=5)["build"] == build())
    except (UnreachableError, StepFailed, KeyError):
        return False


def ask(folder: Path, port: int, method: str, path: str, body: Any = None, *, timeout: float = 30) -> dict[str, Any]:
    """One request with the sandbox's token. Raises UnreachableError, StepFailed with what it answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        token = (folder / TOKEN).read_text().strip()
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        said: dict[str, Any] = json.loads(answer.read() or b"{}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnreachableError(
            "the cloud's stand-in does not answer",
            why=f"{type(error).__name__}: {error}",
            next=f"opsctl sandbox up --name {folder.name}   # mends it",
        ) from None
    finally:
        connection.close()
    if answer.status >= 400:
        raise StepFailed(f"the cloud's stand-in refuses: {said.get('message', answer.status)}")
    return said


def build() -> str:
    """Which code it is made of: another opsctl's stand-in is started anew."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _start(sandbox: str, folder: Path, port: int, cancel: Cancel) -> bool:
    """Start it and wait until it answers; False when the port is taken."""
    here = folder / "cloud"
    argv = [sys.executable, "-m", "opsctl.sandbox.cloud_server", sandbox, str(port), str(here)]
    with (here / "log").open("w") as log:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
        )
    bound = cancel.child(_START)
    while not answers(folder, port):
        code = process.poll()
        if code == _PORT_TAKEN:
            return False
        if code is not None or bound.wait(0.05):
            cancel.check()
            process.kill()
            last = (here / "log").read_text().strip().splitlines()[-3:]
            raise StepFailed(
                "the cloud's stand-in does not start",
                why=" · ".join(last) or f"it ended with {code}",
                next=f"opsctl sandbox up --name {sandbox}",
            )
    return True
