"""Ansible and pyinfra, each in an environment of its own in the user's cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from droplet import BENCH, Droplet
from series import Progress
from shelling import DidNotRun, run, timed

ANSIBLE = "ansible-core==2.19.14"
PYINFRA = "pyinfra==3.10.0"


def environment(requirement: str, progress: Progress) -> Path:
    """The bin folder of an environment that holds one requirement; made once. Raises DidNotRun."""
    digest = hashlib.sha256(f"{requirement} {sys.version} {sys.executable}".encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "opsctl" / "bench"
    folder = cache / f"{requirement.partition('=')[0]}-{digest}"
    if (folder / "complete").exists():
        return folder / "bin"
    progress(f"installing {requirement} into an environment of its own (once)")
    shutil.rmtree(folder, ignore_errors=True)
    cache.mkdir(parents=True, exist_ok=True)
    run([sys.executable, "-m", "venv", str(folder)])
    run([str(folder / "bin/pip"), "--disable-pip-version-check", "install", "-q", requirement], timeout=900)
    (folder / "complete").touch()
    return folder / "bin"


def ansible(binaries: Path, droplet: Droplet) -> float:
    """Seconds of one run of the playbook; its SSH connection is new each time."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=tempfile.gettempdir()) as sockets:
        inventory = Path(sockets) / "inventory.ini"
        inventory.write_text(f"droplet ansible_ssh_common_args='-F {droplet.ssh_config}'\n")
        environ = {
            "ANSIBLE_CONFIG": str(BENCH / "ansible/ansible.cfg"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets,
            "ANSIBLE_LOCAL_TEMP": sockets,
            "PATH": f"{binaries}:{os.environ['PATH']}",
        }
        argv = ["ansible-playbook", "-i", str(inventory), "-e", f"@{droplet.folder / 'plan.json'}"]
        argv[0] = str(binaries / argv[0])
        took = timed([*argv, str(BENCH / "ansible/startup.yml")], env=environ)
        for socket in Path(sockets).iterdir():
            if socket.is_socket():
                end = ["ssh", "-F", str(droplet.ssh_config), "-S", str(socket), "-O", "exit", "droplet"]
                subprocess.run(end, capture_output=True, check=False)
    return took


def pyinfra(binaries: Path, droplet: Droplet) -> float:
    """Seconds of one run of the deploy."""
    environ = {
        "BENCH_PLAN": str(droplet.folder / "plan.json"),
        "BENCH_HOST": droplet.host,
        "BENCH_PORT": str(droplet.port),
        "BENCH_USER": droplet.user,
        "BENCH_KEY": droplet.key,
        "BENCH_KNOWN_HOSTS": droplet.known_hosts,
    }
    folder = BENCH / "pyinfra"
    argv = [str(binaries / "pyinfra"), "-y", str(folder / "inventory.py"), str(folder / "startup.py")]
    return timed(argv, env=environ)


def version(binaries: Path, program: str) -> str:
    """The first line a program says of its version."""
    try:
        return run([str(binaries / program), "--version"]).splitlines()[0]
    except (DidNotRun, IndexError):
        return "unknown"
