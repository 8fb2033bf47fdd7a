"""Which kinds of droplet there are, and which one works here."""

from __future__ import annotations

import importlib

from opsctl.model.errors import ConfigError, UsageError
from opsctl.sandbox.kinds import Kind, Progress

# Loaded only when needed: the kind's module and class.
KINDS = {"container": ("opsctl.sandbox.container", "Container"), "vm": ("opsctl.sandbox.vm", "Vm")}


def kind_named(name: str) -> Kind:
    """A kind by its name. Raises UsageError."""
    if name not in KINDS:
        raise UsageError(f"there is no kind {name!r}", why="container, vm or auto", next="opsctl sandbox up")
    module, cls = KINDS[name]
    kind: Kind = getattr(importlib.import_module(module), cls)()
    return kind


def choose(wanted: str | None, progress: Progress) -> Kind:
    """The kind that was asked for, else the quickest that works here. Raises ConfigError with every reason."""
    if wanted is not None:
        kind = kind_named(wanted)
        if reason := kind.unusable():
            raise ConfigError(
                f"no droplet of kind {wanted} can run here",
                why=reason,
                next="opsctl sandbox up   (takes the kind that works)",
                code="sandbox-kind",
            )
        return kind
    reasons: list[str] = []
    for name in KINDS:
        kind = kind_named(name)
        reason = kind.unusable()
        if reason is None:
            if reasons:
                progress(f"kind {name}, for {reasons[0]}")
            return kind
        reasons.append(f"{name}: {reason}")
    raise ConfigError(
        "no sandbox droplet can run here",
        why="\n".join(reasons),
        next="install and start Docker, or install qemu-system-x86 qemu-utils",
        code="sandbox-kind",
    )
