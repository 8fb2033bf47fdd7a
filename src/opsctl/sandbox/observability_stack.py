"""What a sandbox's stack file says of where its metrics and traces go."""

from __future__ import annotations

from opsctl.sandbox.observability import ENV_FILE, Receiver

_ALLOY = """\
  alloy: {phase: 4, memory: 45MB, gate: {http: ":12345/-/healthy"}, one_by_one: true, optional: true}
"""
_PROBES = """
probes:
  metrics-in-cloud:
    metrics: service_up{{service="orchestrator"}}
    url: http://127.0.0.1:{metrics}
    newer: 30s
  metrics-without-gap:
    metrics: service_up{{service="orchestrator"}}
    url: http://127.0.0.1:{metrics}
    newer: 30s
    gap: 30s
    over: 5m
  traces-in-cloud: {{traces: agents, url: "http://127.0.0.1:{traces}", token: "${{LANGSMITH_API_KEY}}", newer: 60s}}
  agents-answer: {{http: ":8001/health"}}
  prometheus-is-guarded: {{http: ":80/prometheus/", status: 401}}
  grafana-is-guarded: {{http: ":80/grafana/", status: 401}}
  prometheus-has-no-route: {{http: ":80/prometheus/", status: 404}}
  grafana-has-no-route: {{http: ":80/grafana/", status: 404}}
"""


def with_receiver(text: str, receiver: Receiver | None) -> str:
    """The stack file's text, told of the receiver there is."""
    if receiver is None:
        return text
    told = text.replace("version: 1\n", f"version: 1\nenv_file: [{ENV_FILE}]\n", 1)
    told = told.replace("\nredundant:", f"{_ALLOY}\nredundant:", 1)
    probes = _PROBES.format(metrics=receiver.metrics, traces=receiver.traces)
    head = "\nprobes:\n"
    return told.replace(head, probes, 1) if head in told else told + probes
