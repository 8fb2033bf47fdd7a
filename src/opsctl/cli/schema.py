"""JSON schemas of what the commands print with --json, generated from their result types."""

from __future__ import annotations

import importlib
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from opsctl.model.errors import ErrorInfo, ExitCode
from opsctl.model.secret import Secret

# command → where its result type lives
RESULTS = {
    "audit": "opsctl.model.audit:AuditReport",
    "collections.apply": "opsctl.model.collections:CollectionsReport",
    "collections.close-day": "opsctl.model.collections:ClosedDay",
    "collections.status": "opsctl.model.collections:CollectionsReport",
    "config.show": "opsctl.jobs.config:ConfigReport",
    "dashboards.export": "opsctl.model.probing:Exported",
    "deploy": "opsctl.model.deploy:Deployed",
    "doctor": "opsctl.model.examination:Examination",
    "droplet.advice": "opsctl.model.droplet:SizeAdvice",
    "droplet.dns.restore": "opsctl.model.droplet:CloudChanged",
    "droplet.dns.set": "opsctl.model.droplet:CloudChanged",
    "droplet.dns.show": "opsctl.model.droplet:Names",
    "droplet.list": "opsctl.model.droplet:Listed",
    "droplet.power-cycle": "opsctl.model.droplet:CloudChanged",
    "droplet.power-on": "opsctl.model.droplet:CloudChanged",
    "droplet.reboot": "opsctl.model.droplet:CloudChanged",
    "droplet.resize": "opsctl.model.droplet:CloudChanged",
    "droplet.show": "opsctl.model.droplet:Shown",
    "droplet.sizes": "opsctl.model.droplet:Offered",
    "droplet.snapshot": "opsctl.model.droplet:CloudChanged",
    "host.install": "opsctl.model.host:HostChanged",
    "host.remove": "opsctl.model.host:HostChanged",
    "host.replay": "opsctl.model.run:Changed",
    "host.status": "opsctl.model.host:HostStatus",
    "host.upgrade": "opsctl.model.host:HostChanged",
    "env.diff": "opsctl.model.deploy:EnvDiff",
    "env.set": "opsctl.model.deploy:EnvChanged",
    "env.unset": "opsctl.model.deploy:EnvChanged",
    "init": "opsctl.jobs.init:InitResult",
    "lease.break": "opsctl.model.lease:LeaseBreak",
    "lease.show": "opsctl.model.lease:LeaseReport",
    "memory.report": "opsctl.model.memory:MemoryReport",
    "migrate.dragonfly-to-weaviate": "opsctl.model.migrate_shown:Outcome",
    "migrate.qdrant-to-cloud": "opsctl.model.migrate_shown:Outcome",
    "migrate.redis-to-postgres": "opsctl.model.migrate_shown:Outcome",
    "migrate.state-to-redis": "opsctl.model.migrate_shown:Outcome",
    "migrate.redis-to-managed": "opsctl.model.migrate_shown:Outcome",
    "migrate.resume": "opsctl.model.migrate_shown:Resumed",
    "migrate.finish": "opsctl.model.migrate_shown:Outcome",
    "migrate.rollback": "opsctl.model.migrate_shown:Outcome",
    "migrate.replay": "opsctl.model.migrate_shown:Outcome",
    "migrate.attach": "opsctl.model.migrate_shown:RunListing",
    "migrate.export": "opsctl.model.migrate_shown:RunExported",
    "migrate.list": "opsctl.model.migrate_shown:MigrationListing",
    "migrate.pause": "opsctl.model.migrate_shown:RunControlled",
    "migrate.prune": "opsctl.model.migrate_pruned:Pruned",
    "migrate.receipt": "opsctl.model.migrate:Receipt",
    "migrate.status": "opsctl.model.migrate_shown:RunListing",
    "releases.list": "opsctl.model.deploy:Releases",
    "recover": "opsctl.model.recovery:Recovery",
    "playbook.list": "opsctl.model.playbook_run:PlaybookListing",
    "playbook.resume": "opsctl.model.playbook_run:PlaybookReport",
    "playbook.rollback": "opsctl.model.playbook_run:PlaybookReport",
    "playbook.run": "opsctl.model.playbook_run:PlaybookReport",
    "playbook.show": "opsctl.model.playbook_run:ShownPlaybook",
    "proxy.routes": "opsctl.model.proxy:ProxyResult",
    "search": "opsctl.model.search:SearchReport",
    "restart": "opsctl.model.run:Changed",
    "alert.check": "opsctl.model.alerts:AlertCheck",
    "alert.test": "opsctl.model.alerts:AlertTest",
    "cron.install": "opsctl.model.cron:CronChanged",
    "cron.list": "opsctl.model.cron:CronListed",
    "cron.remove": "opsctl.model.cron:CronChanged",
    "cron.run": "opsctl.model.cron:CronRun",
    "heal": "opsctl.model.run:Changed",
    "memory.record": "opsctl.jobs.cron_memory:Recorded",
    "sandbox.break": "opsctl.sandbox.breakage_record:Broken",
    "sandbox.breakages": "opsctl.cli.sandbox_break:Breakages",
    "sandbox.cloud.faults": "opsctl.cli.sandbox_cloud:CloudFaults",
    "sandbox.mend": "opsctl.cli.sandbox_break:Mended",
    "migrate.volumes-to-host": "opsctl.model.volumes:VolumeMoved",
    "rollback": "opsctl.model.deploy:Deployed",
    "sandbox.observability": "opsctl.cli.sandbox_observability:Received",
    "sandbox.reset": "opsctl.sandbox.fleet:DropletStatus",
    "sandbox.status": "opsctl.sandbox.fleet:DropletStatus",
    "sandbox.up": "opsctl.sandbox.fleet:DropletStatus",
    "startup": "opsctl.model.run:Changed",
    "status": "opsctl.model.status:Status",
    "stop": "opsctl.model.run:Changed",
    "tunnel": "opsctl.jobs.tunnel:Opened",
    "validate": "opsctl.model.probing:Validation",
    "why": "opsctl.model.why:Why",
}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Generate(GenerateJsonSchema):
    def is_instance_schema(self, schema: Any) -> JsonSchemaValue:
        if schema.get("cls") is Secret:
            return {"type": "string", "description": "masked"}
        return super().is_instance_schema(schema)


def documents() -> dict[str, dict[str, Any]]:
    """The schema of every command's document, by command."""
    return {command: document(command) for command in sorted(RESULTS)}


def document(command: str) -> dict[str, Any]:
    """The schema of one command's JSON document. Raises KeyError for a command without one."""
    module, _, name = RESULTS[command].partition(":")
    result = _schema(getattr(importlib.import_module(module), name))
    error = _schema(ErrorInfo)
    definitions = {**result.pop("$defs", {}), "Result": result, "Error": error}
    nullable = {"anyOf": [{"$ref": "#/$defs/Error"}, {"type": "null"}]}
    droplet = {
        "name": {"type": "string"},
        "ok": {"type": "boolean"},
        "result": {"anyOf": [{"$ref": "#/$defs/Result"}, {"type": "null"}]},
        "error": nullable,
    }
    return {
        "$schema": _DIALECT,
        "title": f"opsctl {command.replace('.', ' ')} --json",
        **_closed(
            {
                "schema": {"const": f"opsctl.{command}/1"},
                "ok": {"type": "boolean"},
                "exit_code": {"enum": [int(code) for code in ExitCode]},
                "run_id": {"type": ["string", "null"]},
                "droplets": {"type": "array", "items": _closed(droplet)},
                "error": nullable,
            }
        ),
        "$defs": definitions,
    }


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _schema(kind: type) -> dict[str, Any]:
    return TypeAdapter(kind).json_schema(mode="serialization", schema_generator=_Generate)
