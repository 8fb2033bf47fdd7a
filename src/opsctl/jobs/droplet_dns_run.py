"""Carries out a change of DNS: audited on this machine, no droplet is touched."""

from __future__ import annotations

from opsctl.jobs.droplet_back import Return
from opsctl.jobs.droplet_dns import handlers
from opsctl.jobs.droplet_run import CloudCall, carry_out_plan, error_of
from opsctl.model.droplet import CloudChanged
from opsctl.model.plan import Plan
from opsctl.model.result import DropletResult


def carry_out(call: CloudCall, plan: Plan) -> DropletResult[CloudChanged]:
    """Do it. Failures are in the result. Raises StepFailed (no audit), Interrupted."""
    back = Return(call.again, call.entry, call.state_dir)
    run = carry_out_plan(call, plan, handlers(call.cloud, call.entry.run_id, call.entry.started), back, power=False)
    changed = CloudChanged(False, plan.to_json(), (), (), run, None)
    return DropletResult(call.droplet.name, changed, error_of(call, run), run.exit_code)
