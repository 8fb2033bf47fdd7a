"""Who is told what, and when; and that it arrives, at a real server."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.conftest import Droplet

from opsctl.jobs import alerts_send
from opsctl.jobs.alerts import REMINDER, Seen, Told, decide, parse
from opsctl.model.cancel import Cancel
from opsctl.model.secret import Secret

FRAIL = """name: frail
services:
  frail:
    image: devtools/redis:8
    entrypoint: ["bash", "-c", "trap 'exit 3' USR1; while :; do sleep 0.1; done"]
"""
ILL = {"app": ("app is unhealthy", "opsctl logs app")}


@dataclass
class Chat:
    """A server that takes messages: what came, and what it answers."""

    url: str
    posts: list[dict[str, Any]] = field(default_factory=list)
    pings: int = 0
    answers: list[int] = field(default_factory=list)


@pytest.fixture
def chat() -> Iterator[Chat]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            found.posts.append(json.loads(data))
            self._answer()

        def do_GET(self) -> None:
            found.pings += 1
            self._answer()

        def _answer(self) -> None:
            self.send_response(found.answers.pop(0) if found.answers else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Chat(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def step(seen: dict[str, tuple[str, str]], told: Told | None, now: float) -> Told:
    return decide(Seen(seen), told.problems if told else (), now, "agents")


def test_a_short_trouble_is_nobodys_business() -> None:
    told = step(ILL, None, 0)
    assert told.message == ""
    assert step({}, told, 30).message == ""


def test_told_once_then_reminded_then_recovered() -> None:
    told = step(ILL, None, 0)
    told = step(ILL, told, 60)
    assert told.message.splitlines()[0] == "agents: app is unhealthy"
    assert "opsctl logs app" in told.message
    for later in (120, 600, REMINDER):
        told = step(ILL, told, later)
        assert told.message == ""
    told = step(ILL, told, REMINDER + 60)
    assert told.message.splitlines()[0] == "agents: still: app is unhealthy"
    told = step(ILL, told, REMINDER + 120)
    assert told.message == ""
    told = step({}, told, REMINDER + 180)
    assert told.message.splitlines()[0] == "agents: recovered: app"
    assert "all is well" in told.message
    assert told.problems == ()
    assert step({}, told, REMINDER + 240).message == ""


def test_a_second_trouble_is_told_beside_the_first() -> None:
    told = step(ILL, step(ILL, None, 0), 60)
    both = {**ILL, "db": ("db does not run", "opsctl startup")}
    told = step(both, step(both, told, 70), 130)
    assert told.message.splitlines()[0] == "agents: db does not run"
    assert "still not well: app" in told.message
    told = step({"db": both["db"]}, told, 200)
    assert told.message.splitlines()[0] == "agents: recovered: app"
    assert "still not well: db" in told.message


def test_a_clock_that_was_put_back_silences_nothing() -> None:
    told = step(ILL, step(ILL, None, 1_000_000), 100)
    assert step(ILL, told, 160).message


def test_a_file_that_is_broken_counts_as_nothing_known() -> None:
    for text in ("", "x", "[]", '{"problems": [{"key": 1}]}', '{"problems": 7}'):
        assert parse(text) == ()


def test_a_message_arrives_and_its_address_is_never_said(chat: Chat) -> None:
    url = Secret(f"{chat.url}/hooks/s3cret?token=s3cret")
    chat.answers = [503, 200]
    sent = alerts_send.post(url, "agents: hello", {"droplet": "agents"}, cancel=Cancel())
    assert (sent.ok, sent.status, sent.to) == (True, 200, "127.0.0.1")
    assert [each["text"] for each in chat.posts] == ["agents: hello"] * 2
    chat.answers = [404]
    refused = alerts_send.post(url, "agents: hello", {}, cancel=Cancel())
    assert (refused.ok, refused.status) == (False, 404)
    nobody = alerts_send.ping(Secret("http://127.0.0.1:1/s3cret"), cancel=Cancel(0.1))
    wrong = alerts_send.ping(Secret("s3cret"), cancel=Cancel())
    assert nobody.status is None and "refused" in nobody.error
    assert not wrong.ok
    assert "s3cret" not in repr((sent, refused, nobody, wrong))


@pytest.mark.sandbox
def test_the_whole_story_on_a_droplet(droplet: Droplet, chat: Chat, tmp_path: Any) -> None:
    opsctl, file = droplet.opsctl, tmp_path / "opsctl.yaml"
    way = f"alerts: {{webhook: '{chat.url}/s3cret', ping: '{chat.url}/s3cret', command: 'cat > /tmp/told'}}\n"
    droplet.sh(f"mkdir -p /opt/frail; cat > /opt/frail/docker-compose.yml <<'EOF'\n{FRAIL}EOF")
    text = (
        droplet.stack_file.read_text()
        .split("services:")[0]
        .replace("/opt/Dev-Tools/deploy/docker-compose.yml", "/opt/frail/docker-compose.yml")
    )
    text += "services:\n  frail: {phase: 1, memory: 10MB}\n"
    file.write_text(text)
    none = opsctl("alert", "test", "--stack", str(file))
    assert none.returncode == 3 and "alerts:" in none.stderr
    file.write_text(text + way)

    tested = opsctl("alert", "test", "--stack", str(file))
    assert tested.returncode == 0, tested.stderr
    assert tested.stdout.count("status") == 3 and "s3cret" not in tested.stdout
    assert chat.posts[0]["text"].startswith(f"{droplet.name}: a test")
    assert droplet.sh("cat /tmp/told").startswith(f"{droplet.name}: a test")

    assert opsctl("startup", "--stack", str(file)).returncode == 0
    assert opsctl("alert", "check", "--stack", str(file)).returncode == 0
    assert (len(chat.posts), chat.pings) == (1, 2)

    droplet.sh("docker kill -s USR1 frail-frail-1; docker wait frail-frail-1")
    chat.answers = [404]
    failed = opsctl("alert", "check", "--patience", "0", "--stack", str(file))
    assert failed.returncode == 1 and "404" in failed.stderr and "s3cret" not in failed.stderr
    # The command took it, so it was told.
    assert opsctl("alert", "check", "--patience", "0", "--stack", str(file)).returncode == 0
    assert len(chat.posts) == 2
    assert "frail" in droplet.sh("head -n 1 /tmp/told")

    healed = opsctl("heal", "--stack", str(file))
    assert healed.returncode == 0, healed.stderr
    assert "frail" in droplet.running()
    recovered = opsctl.json("alert", "check", "--stack", str(file))["droplets"][0]["result"]
    assert recovered["healthy"] and recovered["message"].startswith(f"{droplet.name}: recovered: frail")
    assert chat.pings == 3
    assert droplet.sh("stat -c %a /var/lib/opsctl/alerts.json").strip() == "600"
