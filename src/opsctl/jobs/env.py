"""The env files of a droplet: what is in them by name, and one variable set or taken away. Values are never shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from opsctl.jobs.call import Call, carry_out
from opsctl.jobs.deploy import error_of, release_id, without_gone
from opsctl.jobs.deploy_actions import Adopt, Put
from opsctl.jobs.deploy_drift import kept_files, recreated
from opsctl.jobs.deploy_steps import DeployOperations
from opsctl.jobs.env_files import EnvFiles, Where, env_files, read, takers, text_of, the_file
from opsctl.jobs.env_text import names, with_value, without
from opsctl.jobs.startup import merged
from opsctl.model.deploy import Bundle, Deployer, EnvChanged, EnvDiff, EnvFile, Source, Survey
from opsctl.model.errors import ExitCode, UsageError
from opsctl.model.plan import Plan, Step
from opsctl.model.result import DropletResult
from opsctl.model.secret import Secret


def diff(call: Call, where: Where, local: bytes | None = None) -> DropletResult[EnvDiff]:
    """What differs in the env files since the current release; or between a local file and the droplet's."""
    engine = cast(Deployer, call.engine)
    now = engine.survey(Source("place"), cancel=call.cancel)
    files = env_files(call, now)
    if local is not None:
        path = the_file(call, now, files, where, None)
        bundle = Bundle({path: (local.replace(b"\r\n", b"\n"), 0o600)})
        then = engine.survey(Source("push", bundle=bundle), cancel=call.cancel)
        found = _listed(call, then, EnvFiles({path: files.used_by[path]}, files.same), turned=False)
        return DropletResult(call.droplet.name, EnvDiff("the local file", found, tuple(recreated(then, then.images))))
    differs = tuple(recreated(now, now.images))
    current = next((each for each in now.releases if each.current), None)
    if current is None:
        found = tuple(EnvFile(path, by, len(_names(call, path)), (), (), ()) for path, by in files.used_by.items())
        return DropletResult(call.droplet.name, EnvDiff("", found, differs))
    back = engine.survey(Source("release", release=current.id, kinds=("env",)), cancel=call.cancel)
    return DropletResult(call.droplet.name, EnvDiff(current.id, _listed(call, back, files, turned=True), differs))


def set_value(call: Call, name: str, value: Secret, where: Where) -> DropletResult[EnvChanged]:
    """Set one variable."""
    return _edit(call, where, name, lambda text: with_value(text, name, value.reveal()))


def unset(call: Call, name: str, where: Where) -> DropletResult[EnvChanged]:
    """Take one variable away. Raises UsageError where no env file has it."""
    return _edit(call, where, name, lambda text: without(text, name), must=True)


def set_several(call: Call, values: Mapping[str, Secret | None], where: Where) -> DropletResult[EnvChanged]:
    """Set variables of one file in one go; those that are None are taken away."""

    def edit(text: str) -> str:
        for name, value in values.items():
            text = without(text, name) if value is None else with_value(text, name, value.reveal())
        return text

    return _edit(call, where, ", ".join(values), edit)


def _edit(
    call: Call, where: Where, name: str, edit: Callable[[str], str], *, must: bool = False
) -> DropletResult[EnvChanged]:
    engine = cast(Deployer, call.engine)
    survey = engine.survey(Source("place"), cancel=call.cancel)
    files = env_files(call, survey)
    path = the_file(call, survey, files, where, name, must=must)
    before = read(call, path).decode(errors="surrogateescape")
    if must and name not in names(before):
        raise UsageError(
            f"{path} has no {name}", why=f"it has {', '.join(names(before)) or 'nothing'}", next="opsctl env diff"
        )
    data = edit(before).encode(errors="surrogateescape")
    source = Source("push", bundle=Bundle({path: (data, 0o600)}))
    after = engine.survey(source, cancel=call.cancel)
    live = {each.service for each in after.facts.containers if each.status == "running" and not each.oneoff}
    taking = takers(after, files, path, name.split(", "))
    running = tuple(each for each in taking if each in live)
    stopped = tuple(each for each in taking if each not in live)
    if before == data.decode(errors="surrogateescape"):
        need = tuple(recreated(after, after.images))
        changed = EnvChanged(call.dry_run, path, name, "unchanged", need, None, running, stopped)
        return DropletResult(call.droplet.name, changed)
    staged = next(each for each in after.files if each.path == path)
    verb = "removed" if must else "changed" if name in names(before) else "added"
    action = Put(((path, staged.old, staged.new, "600"),))
    first = _kept_first(survey)
    put = Step("put", f"write {path}: {name} {verb}", action, needs=tuple(each.id for each in first))
    plan = Plan("env", (*first, put))
    need = tuple(recreated(after, after.images))
    if call.dry_run:
        return DropletResult(call.droplet.name, EnvChanged(True, path, name, verb, need, None, running, stopped))
    stack = merged(without_gone(call, after)[0], after.facts)
    name_of_run = release_id(call.entry.run_id)
    operations = DeployOperations(call, engine, plan, after.facts, stack, source, name_of_run)
    run = carry_out(call, plan, operations.handlers(), changes=True)
    code = run.exit_code
    verb = verb if code is ExitCode.DONE else "failed"
    done = EnvChanged(False, path, name, verb, need, run, running, stopped)
    return DropletResult(call.droplet.name, done, error_of(call, run), code)


def _kept_first(survey: Survey) -> tuple[Step, ...]:
    """Where no release is kept yet, what is there becomes one: else the value of before could not be brought back."""
    if any(each.current for each in survey.releases) or not survey.facts.containers:
        return ()
    adopt = Adopt(kept_files(survey, survey.model, survey.raw))
    return (Step("adopt", "keep what is there now as a release", adopt),)


def _names(call: Call, path: str) -> tuple[str, ...]:
    return names(text_of(call, path))


def _listed(call: Call, survey: Survey, files: EnvFiles, *, turned: bool) -> tuple[EnvFile, ...]:
    """`turned`: the survey looks from now back to a release, and the reader wants it the other way round."""
    staged = {each.path: each for each in survey.files}
    found = []
    for path, by in files.used_by.items():
        each = next((staged[one] for one in (path, *files.same[path]) if one in staged), None)
        added, removed = (each.added, each.removed) if each else ((), ())
        if turned:
            added, removed = removed, added
        count = len(_names(call, path))
        found.append(EnvFile(path, tuple(by), count, added, removed, each.changed if each else ()))
    return tuple(found)
