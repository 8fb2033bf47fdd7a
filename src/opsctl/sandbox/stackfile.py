"""The stack file of a sandbox: every command can use it as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from opsctl.sandbox import vector as vector_stack
from opsctl.sandbox.cloud_shapes import droplet_id
from opsctl.sandbox.kinds import Spec

COMPOSE = "/opt/Dev-Tools/deploy/docker-compose.yml"
SCHEMA = "/opt/Dev-Tools/config/state/langgraph_checkpointing.sql"

_HEAD = """\
# Written by `opsctl sandbox up`; `opsctl sandbox down` takes it away again.
version: 1
droplets:
"""
_DROPLET = """\
  {name}:
    address: root@127.0.0.1:{port}
    key: {folder}/id_ed25519
    known_hosts: {folder}/known_hosts
    compose: {compose}
    reserve: 200MB
"""
_PROVIDER = """\
    provider: {{digitalocean: {number}, api: "http://127.0.0.1:{port}", token_file: "{folder}/cloud-token"}}
"""
_SERVICES = """\
services:
  postgres:
    phase: 1
    memory: 85MB
    gate: {{tcp: 5432, sql: "SELECT 1"}}
    then: [{{sql: {schema}}}]
  redis: {{phase: 1, memory: 10MB, gate: {{tcp: 6379, command: [redis-cli, ping]}}}}
  gateway-mcp: {{phase: 1, memory: 130MB, gate: {{http: ":8000/health"}}}}

  orchestrator:
    phase: 2
    memory: 190MB
    gate: {{http: ":8001/health"}}
    proof:
      - Qdrant Cloud client initialized
      - LangGraph PostgreSQL checkpointer initialized
      - Hybrid memory (buffer + vector) initialized

  rag-context: {{phase: 3, memory: 150MB, gate: {{http: ":8007/health"}}, one_by_one: true, optional: true}}
  agent-registry: {{phase: 3, memory: 57MB, gate: {{http: ":8009/health"}}, one_by_one: true, optional: true}}
  state-persistence: {{phase: 3, memory: 54MB, gate: {{http: ":8008/health"}}, one_by_one: true, optional: true}}
  langgraph: {{phase: 3, memory: 65MB, gate: {{http: ":8010/health"}}, one_by_one: true, optional: true}}
  feature-dev: {{phase: 3, memory: 210MB, gate: {{http: ":8002/health"}}, one_by_one: true, optional: true}}
  code-review: {{phase: 3, memory: 210MB, gate: {{http: ":8003/health"}}, one_by_one: true, optional: true}}
  caddy: {{phase: 3, memory: 44MB, gate: {{http: ":80/caddy-health"}}, one_by_one: true, optional: true}}

  # What watches the stack starts last, where there is memory left for it.
  prometheus: {{phase: 4, memory: 60MB, gate: {{http: ":9090/-/healthy"}}, one_by_one: true, optional: true}}
  grafana: {{phase: 4, memory: 80MB, gate: {{http: ":3000/health"}}, one_by_one: true, optional: true}}
  loki: {{phase: 4, memory: 48MB, gate: {{http: ":3100/health"}}, one_by_one: true, optional: true}}
  promtail: {{phase: 4, memory: 32MB, gate: {{http: ":9080/health"}}, one_by_one: true, optional: true}}
  oauth2-proxy: {{phase: 4, memory: 16MB, gate: {{http: ":4180/health"}}, one_by_one: true, optional: true}}

redundant:
  prometheus: Grafana Cloud receives the same metrics
  grafana: the dashboards are in Grafana Cloud too
  oauth2-proxy: it guards nothing but Prometheus
  since: 2026-01-10
"""
# On a droplet of its own, whose `services` names it.
_WEAVIATE = """
  weaviate: {phase: 1, memory: 300MB, gate: {http: ":8080/v1/.well-known/ready"}}
"""
_STORES = """
stores:
  memory: {{redis: "redis://redis:6379", via: {app}}}
  fallback: {{postgres: "postgresql://devtools:only-in-the-sandbox@postgres:5432/devtools", via: {app}}}
  vectors: {{weaviate: "http://127.0.0.1:8080", grpc_port: 50051, via: {vector}}}

probes:
  memory-answers: {{store: memory}}
  vectors-answer: {{store: vectors}}
"""


def text(
    folder: Path, specs: Sequence[Spec], *, emulated: bool = False, cloud_port: int = 0, vector: Spec | None = None
) -> str:
    """The stack file for the droplets of one sandbox, whose keys are in `folder`.

    Where the droplets may be emulated, gates wait five times as long as they do by default. With a `cloud_port` they
    are rented from the stand-in there. `vector` is the one with Weaviate, if there is one.
    """
    droplets = "".join(_droplet(folder, spec, cloud_port, vector=spec == vector) for spec in specs)
    services = _SERVICES.format(schema=SCHEMA)
    if vector is not None:
        services = services.replace("\nredundant:", f"{_WEAVIATE}\nredundant:", 1)
        services += _STORES.format(app=specs[0].name, vector=vector.name)
    return _HEAD + droplets + (services.replace("gate: {", "gate: {within: 300s, ") if emulated else services)


def _droplet(folder: Path, spec: Spec, cloud_port: int, *, vector: bool) -> str:
    compose = vector_stack.COMPOSE if vector else COMPOSE
    text = _DROPLET.format(name=spec.name, port=spec.port, folder=folder, compose=compose)
    text += "    services: [weaviate]\n" if vector else ""
    rented = _PROVIDER.format(number=droplet_id(spec.name), port=cloud_port, folder=folder)
    return text + (rented if cloud_port else "")


def known_hosts(specs: Sequence[Spec]) -> str:
    """The droplets' host keys, known before the first connection."""
    return "".join(f"[127.0.0.1]:{spec.port} {spec.host_key_public}\n" for spec in specs)
