"""The words of the playbook format: keys, kinds of checks, and what each takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opsctl.model.playbook import KINDS, JobSpec, Kind, Parameter

PLAYBOOK_KEYS = ("version", "title", "about", "droplet_may_be_down", "vars", "steps")
STEP_KEYS = (
    "id",
    "title",
    "droplet",
    "needs",
    "precondition",
    "otherwise",
    "job",
    "approve",
    "probe",
    "always",
    "undo",
    "may_fail",
)
UNDO_KEYS = ("job", "probe")
VAR_KEYS = ("type", "default", "about", "choices", "env")
NAME = r"[a-z][a-z0-9_-]*"

_WITHIN = Parameter("duration", "How long to go on asking.")
CHECKS: Mapping[str, Mapping[str, Parameter]] = {
    "http": {
        "http": Parameter("text", "Port and path, asked for from the droplet itself: ':8001/health'.", required=True),
        "status": Parameter("whole", "The status wanted; without, any 2xx.", least=100),
        "contains": Parameter("text", "A text that the answer must hold."),
        "bearer": Parameter("secret", "A token for the Authorization header."),
        "within": _WITHIN,
    },
    "service": {
        "service": Parameter("services", "Services of the stack.", required=True),
        "state": Parameter(
            "text",
            "healthy (its gate passes), running, or stopped (also: not there).",
            choices=("healthy", "running", "stopped"),
        ),
        "within": _WITHIN,
    },
    "sql": {
        "sql": Parameter("text", "A query that must succeed; psql asks inside the container.", required=True),
        "in": Parameter("service", "The service that is asked.", required=True),
        "within": _WITHIN,
    },
    "command": {
        "command": Parameter("texts", "A command that must succeed inside the container.", required=True),
        "in": Parameter("service", "The service in whose container it runs.", required=True),
        "within": _WITHIN,
    },
    "memory": {
        "memory": Parameter("size", "So much must be available on the droplet (MemAvailable).", required=True),
        "for": Parameter("duration", "For how long it is watched."),
        "every": Parameter("duration", "How often it is read meanwhile; 5s without."),
    },
    "reachable": {
        "reachable": Parameter("switch", "Whether the droplet answers over SSH.", required=True),
    },
    "oom": {
        "oom": Parameter(
            "text",
            "`none`: no container of the stack was killed for memory since the run began.",
            required=True,
            choices=("none",),
        ),
    },
}


def json_schema(jobs: Mapping[str, JobSpec]) -> dict[str, Any]:
    """The format as a JSON Schema for editors, with every job and its parameters."""
    name = {"type": "string", "pattern": f"^{NAME}$"}
    reads = {name: job for name, job in jobs.items() if not job.changes}
    checks = [_check(kind, takes) for kind, takes in CHECKS.items()]
    by_job = {"job": {"anyOf": [_call(job) for job in reads.values()]}, "not": _NOT}
    checks.append(_closed(by_job, ["job"]))
    one_or_more = {"anyOf": [{"$ref": "#/$defs/check"}, {"type": "array", "items": {"$ref": "#/$defs/check"}}]}
    step = {
        "id": {**name, "description": "Its name, in `needs`, in --approve, in the state of a run."},
        "title": {"type": "string", "description": "What it is for, as a person reads it."},
        "droplet": {"type": "string", "description": "Another droplet of the stack; without, the one it is run on."},
        "needs": {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
            "description": "Steps that have to be done first; without, the step before this one; [] none.",
        },
        "precondition": {**one_or_more, "description": "What must hold before it begins."},
        "otherwise": {"enum": ["stop", "skip"], "description": "What becomes of the step where that does not hold."},
        "job": {"$ref": "#/$defs/job", "description": "What it does."},
        "approve": {"type": "string", "description": "A question that a person has to say yes to; instead of a job."},
        "probe": {**one_or_more, "description": "What holds when it is done; where it holds before, it is unchanged."},
        "always": {"type": "boolean", "description": "Run the job even where the probe holds before."},
        "may_fail": {"type": "boolean", "description": "What comes after it is tried even where it failed."},
        "undo": {
            **_closed({"job": {"$ref": "#/$defs/job"}, "probe": one_or_more}, ["job"]),
            "description": "How `opsctl playbook rollback` takes it back.",
        },
    }
    variable = {
        "type": {"enum": list(KINDS)},
        "default": {"description": "Without, it has to be given with --var NAME=VALUE."},
        "about": {"type": "string"},
        "choices": {"type": "array", "items": {"type": "string"}},
        "env": {"type": "string", "description": "Of a secret: the variable of the environment that holds it."},
    }
    top = {
        "version": {"const": 1},
        "title": {"type": "string"},
        "about": {"type": "string"},
        "droplet_may_be_down": {"type": "boolean", "description": "It may begin while the droplet does not answer."},
        "vars": {"type": "object", "additionalProperties": _closed(variable, ["type"])},
        "steps": {"type": "array", "minItems": 1, "items": _closed(step, ["id"])},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An opsctl playbook",
        **_closed(top, ["version", "title", "steps"]),
        "$defs": {"check": {"anyOf": checks}, "job": {"anyOf": [_call(job) for job in jobs.values()]}},
    }


_NOT = {"type": "boolean", "description": "It must not be so."}
_VARIABLE = {"type": "string", "pattern": r"\$\{"}
_SHAPES: Mapping[Kind, dict[str, Any]] = {
    "whole": {"anyOf": [{"type": "integer"}, _VARIABLE]},
    "switch": {"anyOf": [{"type": "boolean"}, _VARIABLE]},
    "size": {"type": ["string", "integer"]},
    "duration": {"type": ["string", "number"]},
    "services": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
    "texts": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
    "secret": _VARIABLE,
}


def _shape(parameter: Parameter) -> dict[str, Any]:
    if parameter.choices:
        return {"anyOf": [{"enum": list(parameter.choices)}, _VARIABLE], "description": parameter.about}
    return {**_SHAPES.get(parameter.kind, {"type": ["string", "number"]}), "description": parameter.about}


def _check(kind: str, takes: Mapping[str, Parameter]) -> dict[str, Any]:
    required = [name for name, each in takes.items() if each.required]
    properties = {name: _shape(each) for name, each in takes.items()}
    return {**_closed({**properties, "not": _NOT}, required), "title": kind}


def _call(job: JobSpec) -> dict[str, Any]:
    required = [name for name, each in job.parameters.items() if each.required]
    takes = _closed({name: _shape(each) for name, each in job.parameters.items()}, required)
    long = _closed({job.name: takes if required else {"anyOf": [takes, {"type": "null"}]}}, [job.name])
    long["description"] = job.about
    return long if required else {"anyOf": [{"const": job.name, "description": job.about}, long]}


def _closed(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
