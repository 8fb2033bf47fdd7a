"""Who makes a day's summary: a command on this machine, or an endpoint."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from opsctl.model.cancel import Cancel
from opsctl.model.errors import StepFailed, UsageError
from opsctl.model.secret import Secret

_MOST = 1_000_000  # bytes of an answer
_COMMAND = "opsctl collections close-day"


class CommandSummary:
    """A shell command: objects as JSON lines on stdin, the summary on stdout; the day in $OPSCTL_DAY."""

    def __init__(self, command: str, *, within: float = 600.0) -> None:
        self.name = f"`{shlex.split(command)[0] if command.strip() else command}`"
        self._command = command
        self._within = within

    def summarise(self, lines: Iterator[bytes], facts: Mapping[str, str], cancel: Cancel) -> str:
        """Run it. Raises StepFailed with what it wrote to stderr, Interrupted."""
        bound = cancel.child(self._within)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            # Files, for then nobody has to read while the objects are written.
            process = subprocess.Popen(
                ["/bin/sh", "-c", self._command],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                env={**os.environ, **facts},
                start_new_session=True,
            )
            watch = threading.Thread(target=_kill_when_done, args=(process, bound))
            watch.start()
            try:
                self._feed(process, lines)
                process.wait()
            finally:
                _kill(process)  # whatever it left behind in its session goes, too
                watch.join()
            cancel.check()
            err.seek(0)
            said = _tail(err.read(_MOST))
            if bound.expired:
                raise StepFailed(f"{self.name} took longer than {self._within:.0f} s", why=said, next=_COMMAND)
            if process.returncode != 0:
                raise StepFailed(f"{self.name} ended with {process.returncode}", why=said, next=_COMMAND)
            out.seek(0)
            return out.read(_MOST).decode(errors="replace")

    @staticmethod
    def _feed(process: subprocess.Popen[bytes], lines: Iterator[bytes]) -> None:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it may have seen enough
            for line in lines:
                process.stdin.write(line)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def _kill_when_done(process: subprocess.Popen[bytes], bound: Cancel) -> None:
    while process.poll() is None:
        if bound.wait(0.1):
            _kill(process)
            return


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


class UrlSummary:
    """An endpoint: objects are POSTed as application/x-ndjson; it answers with text, or with {"summary": …}."""

    def __init__(self, url: str, *, token: Secret | None = None, within: float = 600.0, private: bool = False) -> None:
        parts = urlsplit(url)
        near = _near(parts.hostname or "")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"--summary-url: {url!r} is no URL", next=f"{_COMMAND} --summary-url https://…")
        if parts.scheme == "http" and not near:
            raise UsageError(
                f"--summary-url: {parts.hostname} would be sent a day's objects in the clear",
                next=f"{_COMMAND} --summary-url https://{parts.netloc.rpartition('@')[2]}{parts.path}",
            )
        if private and not near:
            raise UsageError(
                f"--summary-url: {parts.hostname} is a third party, and the collection is clinical",
                next=f"{_COMMAND} --summary-command …   (on this machine)",
            )
        self.name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._url = url
        self._token = token
        self._within = within

    def summarise(self, lines: Iterator[bytes], facts: Mapping[str, str], cancel: Cancel) -> str:
        """POST them. Raises StepFailed with its answer, Interrupted."""
        import httpx

        def body() -> Iterator[bytes]:
            for line in lines:
                cancel.check("the summary")
                yield line

        headers = {"Content-Type": "application/x-ndjson", "Accept": "application/json, text/plain"}
        headers |= {f"X-{name.replace('_', '-').title()}": value for name, value in facts.items()}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token.reveal()}"
        try:
            answer = httpx.post(self._url, content=body(), headers=headers, timeout=self._within, trust_env=False)
        except httpx.HTTPError as error:
            raise StepFailed(
                f"{self.name} gave no summary", why=str(error) or type(error).__name__, next=_COMMAND
            ) from None
        if answer.status_code >= 300:
            why = f"HTTP {answer.status_code}: {_tail(answer.content)}"
            raise StepFailed(f"{self.name} gave no summary", why=why, next=_COMMAND)
        if "json" not in answer.headers.get("content-type", ""):
            return answer.text
        try:
            found = answer.json()
        except ValueError:
            found = None
        text = found.get("summary") if isinstance(found, dict) else found
        if not isinstance(text, str):
            raise StepFailed(f"{self.name} gave no summary", why='its JSON has no "summary"', next=_COMMAND)
        return text


def _near(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost"


def _tail(data: bytes) -> str:
    return data.decode(errors="replace").strip()[-300:] or "it said nothing"
