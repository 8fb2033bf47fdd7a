"""The ways in which a droplet can be broken: what each does, where it can, and what undoing it takes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opsctl.model.errors import ConfigError, UsageError
from opsctl.model.units import show_duration


@dataclass(frozen=True)
class Options:
    """What a fault can be told. None and False: not said."""

    service: str | None = None
    victim: str | None = None
    delay: float | None = None  # seconds, one way
    skew: float | None = None  # seconds forward, or back
    lasting: bool = False


@dataclass(frozen=True)
class Fault:
    """One way to fail."""

    name: str
    help: str
    takes: frozenset[str] = frozenset()
    needs_service: bool = False

    def check(self, options: Options, kind: str) -> None:
        """Raises UsageError for an option this fault has no use for, ConfigError for a kind that cannot."""
        for word, given in vars(options).items():
            if given and word not in self.takes:
                knows = " ".join(f"--{each}" for each in sorted(self.takes))
                raise UsageError(
                    f"{self.name} takes no --{_OPTION.get(word, word)}",
                    why=f"it takes {knows}" if knows else "it takes no option of its own",
                    next=f"opsctl sandbox break {self.name}",
                )
        if self.needs_service and not options.service:
            raise UsageError(
                f"{self.name} needs a service", next=f"opsctl sandbox break {self.name} --service orchestrator"
            )
        if options.service and options.victim:
            raise UsageError(
                "--service and --victim exclude each other",
                why="a service that reaches its own limit is the victim itself",
                next="opsctl sandbox break oom --victim orchestrator",
            )
        if self.name == "clock-skew" and kind == "container":
            raise ConfigError(
                "a container droplet has no clock of its own",
                why="turning it would turn this machine's clock",
                next="opsctl sandbox up --kind vm --name NAME, and break that one",
                code="sandbox-kind",
            )


_OPTION = {"skew": "by"}
DELAY, SKEW = 0.02, 300.0

FAULTS: Mapping[str, Fault] = {
    each.name: each
    for each in (
        Fault(
            "oom",
            "A culprit eats the memory until the kernel kills: the droplet's, or with --service that one's own limit. "
            "With --victim the kernel kills that service, and not the culprit.",
            takes=frozenset({"service", "victim"}),
        ),
        Fault(
            "disk-full",
            "Not one byte is left: on the whole disk of a vm; on a container in opsctl's own folder and /tmp. "
            "With --service, on a container: in that service's volumes (it is started again on them).",
            takes=frozenset({"service"}),
        ),
        Fault(
            "docker-down",
            "The Docker engine is stopped; with --lasting its configuration is broken, so that no reboot helps.",
            takes=frozenset({"lasting"}),
        ),
        Fault(
            "unhealthy",
            "Every process of a service's container stands still: it runs, and answers nobody.",
            takes=frozenset({"service"}),
            needs_service=True,
        ),
        Fault(
            "crash-loop",
            "A service's program is broken in its container: it exits with 1 at every start.",
            takes=frozenset({"service"}),
            needs_service=True,
        ),
        Fault("network-cut", "Packets to and from the droplet are dropped; who is connected hears nothing any more."),
        Fault(
            "slow-network", "What goes over SSH takes longer, by --delay each way (20ms).", takes=frozenset({"delay"})
        ),
        Fault("ssh-down", "sshd is stopped; who is logged in stays so."),
        Fault("clock-skew", "The droplet's clock is wrong by --by (5m); kind vm only.", takes=frozenset({"skew"})),
        Fault("hung", "Nothing runs on the droplet any more; only mend or a power-cycle brings it back."),
    )
}

# What breakage.sh calls it.
SCRIPTS = {
    "oom": "oom",
    "disk-full": "disk",
    "docker-down": "docker",
    "unhealthy": "unhealthy",
    "crash-loop": "crash",
    "network-cut": "network",
    "slow-network": "slow",
    "ssh-down": "ssh",
    "clock-skew": "clock",
}


def named(name: str) -> Fault:
    """A fault by its name. Raises UsageError."""
    if name not in FAULTS:
        raise UsageError(
            f"there is no breakage {name!r}", why=f"there is {', '.join(FAULTS)}", next="opsctl sandbox break --list"
        )
    return FAULTS[name]


def script(fault: Fault, kind: str) -> str:
    """The name of a fault in breakage.sh, on a kind of droplet."""
    return "disk_cover" if fault.name == "disk-full" and kind == "container" else SCRIPTS[fault.name]


def break_args(fault: Fault, options: Options) -> tuple[str, ...]:
    """The arguments of `break`."""
    match fault.name:
        case "oom":
            return options.service or "", options.victim or ""
        case "docker-down":
            return ("yes" if options.lasting else "no",)
        case "slow-network":
            return (f"{options.delay or DELAY:.4f}",)
        case "clock-skew":
            return (f"{options.skew or SKEW:.0f}",)
        case "disk-full" | "unhealthy" | "crash-loop":
            return (options.service or "",)
        case _:
            return ()


_UNDO: Mapping[str, Sequence[str]] = {
    "oom": ("container", "pid"),
    "disk_cover": ("container",),
    "unhealthy": ("container", "pid"),
    "crash": ("container", "path"),
    "network": ("interface",),
    "slow": ("pid", "interface"),
}


def mend_args(verb: str, notes: Mapping[str, str]) -> tuple[str, ...]:
    """The arguments of `mend` and `done`, from what `break` said."""
    if verb == "clock":
        return (f"{time.time():.0f}",)
    return tuple(notes.get(each, "") for each in _UNDO.get(verb, ()))


def ends_with_boot(fault: Fault, options: Options, kind: str) -> bool:
    """Whether a reboot or a power-cycle ends it."""
    if fault.name in ("oom", "crash-loop"):
        return False
    if fault.name == "disk-full":
        return kind == "container"
    return not options.lasting


def detail(fault: Fault, options: Options, kind: str, notes: Mapping[str, str]) -> str:
    """One line that says what was done, as a status shows it."""
    match fault.name:
        case "oom" if options.service:
            return f"{options.service} ate memory up to its own limit or the droplet's, and the kernel killed it"
        case "oom":
            return f"the container `culprit` ate the memory; the kernel killed {options.victim or 'it'}"
        case "disk-full" if kind == "vm":
            return "/var/sandbox-fill takes all that was free"
        case "disk-full":
            where = f"the volumes of {options.service}" if options.service else "/var/lib/opsctl and /tmp"
            return f"{where} cannot take one more byte"
        case "docker-down":
            return "its configuration is broken" if options.lasting else "the engine is stopped"
        case "unhealthy":
            return f"{options.service} stands still"
        case "crash-loop":
            return f"{options.service} exits with 1 at every start ({notes.get('path', '?')} is broken)"
        case "network-cut":
            return f"all packets over {notes.get('interface', '?')} are dropped"
        case "slow-network":
            return f"SSH takes {(options.delay or DELAY) * 1000:.0f} ms longer each way, for new connections"
        case "ssh-down":
            return "sshd is stopped"
        case "clock-skew":
            skew = options.skew or SKEW
            return f"its clock is {show_duration(abs(skew))} {'fast' if skew > 0 else 'slow'}"
        case _:
            return "nothing runs there until it is mended or its power is cut"
