"""What a slow line costs a phased start: round trips that wait for each other, of the connection and of the job."""

from __future__ import annotations

import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.conftest import Droplet

from opsctl.cli.main import build
from opsctl.cli.process import Process
from opsctl.hosts import connect
from opsctl.hosts.agent import Agent
from opsctl.model.cancel import Cancel
from opsctl.model.stackfile_load import read_stack

pytestmark = pytest.mark.sandbox
ROUND_TRIP = 2 * 0.020  # s; 20 ms each way
MORE = 1.0  # s that the whole start may cost more


@dataclass
class Asked:
    """One request to the agent, from its sending until its answer, or the first line of it."""

    what: str
    begun: float
    answered: float = float("inf")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """Every request of this process to an agent."""
    every: list[Asked] = []
    run, stream, lease, give_back = Agent.run, Agent.stream, Agent.lease, Agent.give_back

    @contextmanager
    def noted(what: str) -> Iterator[Asked]:
        one = Asked(what, time.monotonic())
        every.append(one)
        try:
            yield one
        finally:
            one.answered = min(one.answered, time.monotonic())

    def noted_run(self: Agent, script: Any, **more: Any) -> Any:
        with noted("run " + (script.text.strip().splitlines() or [""])[0][:60]):
            return run(self, script, **more)

    def noted_stream(self: Agent, script: Any, **more: Any) -> Iterator[str]:
        with noted("stream") as one:
            for line in stream(self, script, **more):
                one.answered = min(one.answered, time.monotonic())
                yield line

    def noted_lease(self: Agent, *args: Any, **more: Any) -> Any:
        with noted("lease"):
            return lease(self, *args, **more)

    def noted_give_back(self: Agent, *args: Any, **more: Any) -> None:
        with noted("give back"):
            give_back(self, *args, **more)

    monkeypatch.setattr(Agent, "run", noted_run)
    monkeypatch.setattr(Agent, "stream", noted_stream)
    monkeypatch.setattr(Agent, "lease", noted_lease)
    monkeypatch.setattr(Agent, "give_back", noted_give_back)
    return every


def in_a_row(every: list[Asked]) -> list[Asked]:
    """The longest chain in which each was asked after the one before had been answered."""
    chain: list[Asked] = []
    for each in sorted(every, key=lambda one: one.answered):
        if not chain or each.begun >= chain[-1].answered:
            chain.append(each)
    return chain


def test_the_longest_chain() -> None:
    a, b, c = Asked("a", 0, 1), Asked("b", 0.5, 3), Asked("c", 1.5, 2)
    assert in_a_row([b, c, a]) == [a, c]


@contextmanager
def counting(port: int) -> Iterator[tuple[int, list[int]]]:
    """A port here that leads to another one, and how often its client spoke after it had heard something."""
    count, heard = [0], True
    with socket.create_server(("127.0.0.1", 0)) as server:

        def pump() -> None:
            nonlocal heard
            client, _ = server.accept()
            with client, socket.create_connection(("127.0.0.1", port)) as there:
                while True:
                    for ready in select.select([client, there], [], [])[0]:
                        try:
                            data = ready.recv(65536)
                        except ConnectionResetError:
                            data = b""
                        if not data:
                            return
                        (there if ready is client else client).sendall(data)
                        count[0] += ready is client and heard
                        heard = ready is there

        thread = threading.Thread(target=pump)
        thread.start()
        yield server.getsockname()[1], count
        thread.join(10)


def to_connect(droplet: Droplet) -> int:
    """Round trips until the agent has greeted, the one of TCP included."""
    known = read_stack(droplet.stack_file.read_text(), droplet.stack_file, environ={}).droplets[droplet.name]
    port = re.search(r":(\d+)$", known.address)
    assert port is not None and known.known_hosts is not None
    with counting(int(port[1])) as (through, count):
        keys = droplet.stack_file.parent / "known_hosts.relay"
        lines = (droplet.stack_file.parent / "known_hosts").read_text()
        keys.write_text(lines.replace(f":{port[1]} ", f":{through} "))
        host = connect(replace(known, address=f"root@127.0.0.1:{through}", known_hosts=str(keys)))
        try:
            host.privilege(cancel=Cancel(30))
            return count[0] + 1
        finally:
            host.close()
            keys.unlink()


def test_twenty_milliseconds_each_way_cost_a_phased_start_less_than_a_second(
    droplet: Droplet, asked: list[Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    connecting = to_connect(droplet)
    for name, value in droplet.opsctl.environment.items():
        monkeypatch.setenv(name, value)
    argv = ("startup", "--phase", "2")
    droplet.opsctl(*argv)
    stopped = droplet.opsctl("stop", "postgres", "redis", "gateway-mcp", "orchestrator")
    assert stopped.returncode == 0 and not droplet.running(), stopped.stderr
    asked.clear()
    build(argv)(args=list(argv), standalone_mode=False, obj=Process(argv))
    assert droplet.running() >= {"postgres", "redis", "gateway-mcp", "orchestrator"}
    chain = in_a_row(asked)
    told = "\n".join(
        f"{each.begun - chain[0].begun:6.2f} {each.answered - each.begun:6.2f} {each.what}" for each in chain
    )
    trips = connecting + len(chain)
    print(f"{connecting} to connect, {len(chain)} of {len(asked)} requests one after the other\n{told}")
    assert trips * ROUND_TRIP <= MORE, f"{connecting} to connect, then one after the other:\n{told}"
