"""Every command with its panel and its one line of help, so that `--help` imports none of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import NamedTuple

import typer

DAILY = "Daily"
BROKE = "It broke"
DATA = "Data"
SETUP = "Set-up"


class Command(NamedTuple):
    """A top-level command or group: `module` exposes `register(app)`, which adds it under `name`."""

    name: str
    panel: str
    help: str
    module: str


COMMANDS = (
    Command("startup", DAILY, "Start services in phases, each gated on health and memory.", "startup"),
    Command("stop", DAILY, "Stop services, the last phase first.", "stop"),
    Command("restart", DAILY, "Stop and start one service, and prove that it is back.", "restart"),
    Command("status", DAILY, "What runs, what does not, and since when.", "status"),
    Command("logs", DAILY, "Log lines of one or several services.", "logs"),
    Command("exec", DAILY, "Run a command inside a service's container.", "exec"),
    Command("shell", DAILY, "Open a shell inside a service's container.", "shell"),
    Command("tunnel", DAILY, "Reach a service's port from here.", "tunnel"),
    Command("validate", DAILY, "Ask the stack file's probes: does it really work?", "validate"),
    Command("memory", DAILY, "Where the memory goes.", "memory"),
    Command("why", BROKE, "What died, who was killed for it, and what to type next.", "why"),
    Command("audit", DAILY, "Who did what to a droplet, and how it ended.", "audit"),
    Command("lease", BROKE, "Who may change a droplet right now, and taking that away.", "lease"),
    Command("recover", BROKE, "Bring a droplet back, with the mildest step that helps.", "recover"),
    Command("doctor", BROKE, "Can opsctl work here? Each check with what mends it.", "doctor"),
    Command("heal", BROKE, "Start again what crashed or is unhealthy.", "heal"),
    Command(
        "rollback",
        BROKE,
        "Bring back a release: its compose file, its configuration and its images together.",
        "rollback",
    ),
    Command("search", DATA, "Find memory items by what they mean and by their words.", "search"),
    Command("migrate", DATA, "Data from one store to another, verified before anything is deleted.", "migrate"),
    Command(
        "collections",
        DATA,
        "The collections of Weaviate from a file: what differs, what is mended, a day put to rest.",
        "collections",
    ),
    Command("init", SETUP, "Write a first stack file from what is there.", "init"),
    Command("config", SETUP, "What the configuration says, and where each value comes from.", "config"),
    Command("droplet", SETUP, "Droplets through their provider: power, snapshots, sizes, DNS.", "droplet"),
    Command("host", SETUP, "opsctl on the droplet itself: for cron, and for what happens after a boot.", "host"),
    Command("deploy", SETUP, "Bring compose file and configuration to a droplet, and recreate what changed.", "deploy"),
    Command("env", SETUP, "The variables of the droplet's env files, by name.", "env"),
    Command("releases", SETUP, "What a rollback can go back to.", "releases"),
    Command("cron", SETUP, "Jobs that a droplet runs by itself: memory, heal, watch, snapshot.", "cron"),
    Command("playbook", SETUP, "Runbooks as data: show, simulate, run, go on, take back.", "playbook"),
    Command("alert", SETUP, "Tell somebody when a droplet's state changes.", "alert"),
    Command("dashboards", SETUP, "Grafana's dashboards as files.", "dashboards"),
    Command("proxy", SETUP, "Which routes the reverse proxy has; take some away.", "proxy"),
    Command("sandbox", SETUP, "A droplet on your laptop to try everything on.", "sandbox"),
)


def register(app: typer.Typer, command: Command, *, loaded: bool) -> None:
    """Add one command to the app: for real, or as a name with its help."""
    if loaded:
        load(command)(app)
    else:
        app.command(command.name, help=command.help, rich_help_panel=command.panel)(_name_only)


def load(command: Command) -> Callable[[typer.Typer], None]:
    """The `register` function of a command's module."""
    module = importlib.import_module(f"opsctl.cli.{command.module}")
    function: Callable[[typer.Typer], None] = module.register
    return function


def _name_only() -> None:
    """Stand for a command that this call did not ask for."""
