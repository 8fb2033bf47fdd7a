"""A small stack of our own on the session's droplet, for failures that the sandbox's stack does not have."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tests.conftest import Droplet, Opsctl

COMPOSE = """name: t
x-s: &s
  image: devtools/gateway-mcp:1
  restart: always
services:
  good: {<<: *s, environment: {START_DELAY: "0.2"}}
  good2: {<<: *s, environment: {START_DELAY: "0.2"}}
  later: {<<: *s, environment: {START_DELAY: "1.5"}}
  slow: {<<: *s, environment: {START_DELAY: "1000"}}
  crash: {<<: *s, entrypoint: ["sh", "-c", "echo about to crash; sleep 0.3; exit 3"]}
  leaky: {<<: *s, environment: {MEMORY_MB: "100"}, deploy: {resources: {limits: {memory: 40M}}}}
  port1: {<<: *s, ports: ["127.0.0.1:7777:8000"]}
  port2: {<<: *s, ports: ["127.0.0.1:7777:8000"]}
  noimage: {image: "nowhere/nothing:9"}
  nocommand: {<<: *s, command: ["/no/such/thing"]}
  noenv: {<<: *s, restart: "no", entrypoint: ["python3", "-c", "import os; os.environ['SOME_TOKEN_X']"]}
  sick: {<<: *s, healthcheck: {test: ["CMD-SHELL", "echo feeling bad; exit 1"], interval: 1s, retries: 1}}
  falls: {<<: *s, environment: {START_DELAY: "0", CRASH_AFTER: "1.5"}}
  job: {<<: *s, restart: "no", entrypoint: ["sh", "-c", "echo working; sleep 0.3"]}
  badjob: {<<: *s, restart: "no", entrypoint: ["sh", "-c", "exit 3"]}
  afterjob: {<<: *s, depends_on: {job: {condition: service_completed_successfully}}}
"""
DEFAULT = '{phase: 1, memory: 10MB, gate: {http: ":8000/health", within: 20s}}'


@dataclass(frozen=True)
class Small:
    """opsctl on the small stack."""

    droplet: Droplet
    opsctl: Opsctl
    file: Path

    def services(self, *lines: str, reserve: str = "50MB", more: str = "") -> None:
        """Write the stack file: `name` or `name: {…}` a line."""
        head = self.droplet.stack_file.read_text().split("services:")[0]
        head = head.replace("/opt/Dev-Tools/deploy/docker-compose.yml", "/opt/t/docker-compose.yml")
        head = "\n".join(line for line in head.splitlines() if "reserve:" not in line)
        head += f"\n    reserve: {reserve}\nservices:\n"
        body = "".join(f"  {line if ':' in line else f'{line}: {DEFAULT}'}\n" for line in lines)
        self.file.write_text(head + body + more)

    def state(self, service: str) -> str:
        """What the engine says of a service's container; "" without one."""
        return self.droplet.sh(
            f"docker inspect -f '{{{{.State.Status}}}}' t-{service}-1 2>/dev/null || true", check=False
        ).strip()

    def lease_is_free(self) -> bool:
        """Whether the lease can be had right now."""
        lock = "/var/lib/opsctl/lease/stack.lock"
        return "free" in self.droplet.sh(f"[ ! -e {lock} ] || flock -n {lock} true && echo free", check=False)

    def audit(self) -> list[str]:
        """The lines of the audit."""
        return self.droplet.sh("cat /var/lib/opsctl/audit.jsonl 2>/dev/null || true").splitlines()


def small(droplet: Droplet, folder: Path) -> Small:
    """The small stack on a clean droplet."""
    droplet.sh(f"mkdir -p /opt/t; cat >/opt/t/docker-compose.yml <<'EOF'\n{COMPOSE}EOF")
    file = folder / "opsctl.yaml"
    opsctl = replace(droplet.opsctl, environment={**droplet.opsctl.environment, "OPSCTL_STACK": str(file)})
    return Small(droplet, opsctl, file)
