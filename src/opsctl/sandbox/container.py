"""Kind `container`: a droplet that is a container with an engine of its own inside."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError, DeadlineExceeded, OpsError, StepFailed
from opsctl.sandbox import breakage_record, container_disk, outer, procs, rootfs
from opsctl.sandbox.kinds import Condition, PortTaken, Power, Progress, Seen, Spec, Switch
from opsctl.sandbox.locks import locked
from opsctl.sandbox.paths import cache_dir, state_dir

REPOSITORY = "opsctl-sandbox"
_LABEL = "io.opsctl.sandbox"
_STATE = "/run/sandbox"
_READY = 60.0

# Debian's own wants limits that a container may not raise, and starts the engine beside the droplet's own keeper.
_DOCKER_SERVICE = r"""#!/bin/bash
# service docker start|stop|restart|status, where systemd is not PID 1; the engine's log is /var/log/dockerd.log.
log=/var/log/dockerd.log
answers() { curl -sf -m 2 --unix-socket /run/docker.sock http://localhost/_ping >/dev/null; }
case ${1:-} in
    status) answers && echo 'docker is running' || { echo "docker is not running ($log)"; exit 3; } ;;
    stop) exec /usr/local/sbin/droplet-service stop dockerd ;;
    start|restart)
        begun=$(stat -c %s "$log" 2>/dev/null || echo 0)
        /usr/local/sbin/droplet-service "$1" dockerd || exit 1
        for _ in $(seq 200); do
            answers && exit 0
            said=$(tail -c "+$((begun + 1))" "$log" |
                grep -m 1 -e 'unable to configure' -e 'failed to start') && break
            sleep 0.1
        done
        echo "${said:-the engine does not answer within 20 s} ($log)" >&2
        exit 1 ;;
    *) echo "usage: $0 start|stop|restart|status" >&2; exit 2 ;;
esac
"""


class Container:
    """Runs droplets on the Docker engine of this machine."""

    name = "container"

    def unusable(self) -> str | None:
        """Why no container can be run here; None when one can."""
        return outer.unusable()

    def prepare(self, progress: Progress, cancel: Cancel) -> None:
        """Build the root filesystem and hand it to the engine as an image."""
        if reason := self.unusable():
            raise ConfigError(
                "no droplet of kind container can run here", why=reason, next="opsctl sandbox up --kind vm"
            )
        built = rootfs.ensure(progress, cancel)
        if outer.has_image(_image(built.key), cancel):
            return
        with locked(cache_dir() / "image.lock", "hands the droplet's image to Docker", progress, cancel):
            if outer.has_image(_image(built.key), cancel):
                return
            progress("handing the droplet's root filesystem to Docker")
            outer.docker("import", "-m", built.key, str(built.droplet), _image(built.key), cancel=cancel, timeout=300)
            _handed_over().mkdir(exist_ok=True)
            (_handed_over() / built.key).touch()
            _drop_old_images()

    def up(self, spec: Spec, progress: Progress, cancel: Cancel) -> None:
        """Start the droplet, made anew where it is not whole."""
        if (_inspect(spec) or {"State": {}})["State"].get("Paused"):
            progress(f"{spec.name}: stands still: waking it")
            outer.docker("unpause", _container(spec), cancel=cancel)
        seen = self.status(spec)
        if seen.condition is Condition.RUNNING:
            return
        if seen.condition is Condition.STOPPED:
            progress(f"{spec.name}: starting it again")
            self._start_again(spec, cancel)
        else:
            if seen.condition is Condition.BROKEN:
                progress(f"{spec.name}: it was not whole ({seen.detail}): making it anew")
            _discard(spec, cancel)
            self._create(spec, progress, cancel)
        self._wait(spec, progress, cancel)
        _marker(spec).write_text(json.dumps({"container": _container(spec)}))

    def status(self, spec: Spec) -> Seen:
        """Ask the engine, then sshd."""
        try:
            shown = _inspect(spec)
        except OpsError as error:
            return Seen(Condition.BROKEN, error.info.why or error.info.what)
        if shown is None:
            gone = _marker(spec).exists()
            return Seen(Condition.BROKEN, "its container is gone") if gone else Seen(Condition.ABSENT)
        if not _marker(spec).exists():
            return Seen(Condition.BROKEN, "it was never finished")
        if not shown["State"]["Running"]:
            return Seen(Condition.STOPPED, f"exited with {shown['State']['ExitCode']}")
        if not _ssh_answers(spec.port):
            return Seen(Condition.BROKEN, "it runs, but sshd does not answer")
        return Seen(Condition.RUNNING, _age(shown), _boot_id(spec, Cancel()))

    def power(self, spec: Spec, how: Power, progress: Progress, cancel: Cancel) -> None:
        """Start the droplet again: its PID 1 is asked to end, or everything in it is killed."""
        progress(f"{spec.name}: {how.value}")
        before = _boot_id(spec, cancel)
        if how is Power.REBOOT:
            outer.docker("exec", _container(spec), "kill", "-HUP", "1", cancel=cancel)
        else:
            outer.docker("kill", _container(spec), cancel=cancel)
            outer.docker("start", _container(spec), cancel=cancel)
        self._wait(spec, progress, cancel, not_boot=before)

    def down(self, spec: Spec, progress: Progress, cancel: Cancel) -> None:
        """Remove the container, its volume and its snapshots."""
        _discard(spec, cancel)
        container_disk.drop_all(_container(spec), cancel)

    def is_on(self, spec: Spec) -> bool:
        """Whether its container runs."""
        shown = _inspect(spec)
        return shown is not None and bool(shown["State"]["Running"])

    def switch(self, spec: Spec, how: Switch, cancel: Cancel) -> None:
        """See Kind: the power is the container's, its system is PID 1 in it."""
        name, on = _container(spec), self.is_on(spec)
        if how in (Switch.ASK_OFF, Switch.ASK_REBOOT):
            if on:
                word = "-TERM" if how is Switch.ASK_OFF else "-HUP"
                outer.docker("exec", name, "kill", word, "1", cancel=cancel)
            return
        if on and how in (Switch.OFF, Switch.CYCLE):
            outer.docker("kill", name, cancel=cancel)
        if how in (Switch.ON, Switch.CYCLE):
            outer.docker("start", name, cancel=cancel, timeout=60)

    def resize(self, spec: Spec, memory: int, cancel: Cancel) -> None:
        """See Kind: the container's limit, which lxcfs shows as MemTotal."""
        outer.docker("update", f"--memory={memory}", f"--memory-swap={memory}", _container(spec), cancel=cancel)

    def snapshot(self, spec: Spec, name: str, cancel: Cancel) -> int:
        """See Kind: an image of its root, and a copy of its engine's volume."""
        return container_disk.snapshot(_container(spec), name, cancel)

    def restore(self, spec: Spec, name: str, cancel: Cancel) -> None:
        """See Kind: a new container on the snapshot's image, with the volume as it was then."""
        image = container_disk.image_of(_container(spec), name, cancel)
        shown = _inspect(spec) or {}
        rights = outer.PRIVILEGED if shown.get("HostConfig", {}).get("Privileged") else outer.NESTING
        outer.remove_container(_container(spec), cancel)
        container_disk.put_back(_container(spec), name, cancel)
        self._place(spec, image, rights, cancel)

    def drop_snapshot(self, spec: Spec, name: str, cancel: Cancel) -> None:
        """See Kind."""
        container_disk.drop(_container(spec), name, cancel)

    def purge(self, progress: Progress) -> None:
        """Remove the droplets' images from the engine; one that is in use stays."""
        _drop_images(sorted(path.name for path in _handed_over().glob("*")))

    def _start_again(self, spec: Spec, cancel: Cancel) -> None:
        code, _, error = outer.attempt("start", _container(spec), cancel=cancel, timeout=60)
        if code != 0:
            raise StepFailed(
                f"{spec.name} could not be started again",
                why=error,
                next=f"end what uses port {spec.port}, or lose what is on it: opsctl sandbox reset",
            )

    def _create(self, spec: Spec, progress: Progress, cancel: Cancel) -> None:
        built = rootfs.ensure(progress, cancel)
        name, image = _container(spec), _image(built.key)
        progress(f"{spec.name}: filling its disk with the stack's images")
        label = f"--label={_LABEL}={spec.name}"
        outer.docker("volume", "create", label, name, cancel=cancel)
        procs.output(
            [
                *("docker", "run", "--rm", "-i", f"--name={name}-fill", "--network=none", label, "-v", f"{name}:/v"),
                *(image, "tar", "-C", "/v", "--xattrs", "--xattrs-include=*", "-xf", "-"),
            ],
            stdin=built.seed,
            cancel=cancel,
            timeout=300,
        )
        progress(f"{spec.name}: starting it")
        self._start(spec, image, outer.PRIVILEGED, cancel) or self._start(spec, image, outer.NESTING, cancel, last=True)

    def _start(self, spec: Spec, image: str, rights: tuple[str, ...], cancel: Cancel, *, last: bool = False) -> bool:
        name = _container(spec)
        self._place(spec, image, rights, cancel)
        code, _, error = outer.attempt("start", name, cancel=cancel, timeout=60)
        if code == 0:
            return True
        outer.remove_container(name, cancel)
        if outer.says_port_taken(error):
            raise PortTaken(f"port {spec.port} is taken", why=error)
        if last or "operation not permitted" not in error:
            raise StepFailed(f"{spec.name} could not be started", why=error, next="opsctl sandbox up --kind vm")
        return False

    def _place(self, spec: Spec, image: str, rights: tuple[str, ...], cancel: Cancel) -> None:
        outer.docker("create", *_options(spec), *rights, image, "/usr/local/lib/sandbox/init", cancel=cancel)
        procs.output(["docker", "cp", "-", f"{_container(spec)}:/"], stdin=_identity(spec), cancel=cancel, timeout=30)

    def _wait(self, spec: Spec, progress: Progress, cancel: Cancel, *, not_boot: str = "") -> None:
        progress(f"{spec.name}: waits for its Docker engine and sshd")
        bound = cancel.child(_READY)
        while not (
            _boot_id(spec, cancel) not in ("", not_boot)
            and (_is_ready(spec, cancel) or breakage_record.without_engine(spec))
            and _ssh_answers(spec.port)
        ):
            try:
                bound.check(f"{spec.name} to come up")
            except DeadlineExceeded:
                _, out, error = outer.attempt("logs", "--tail", "15", _container(spec))
                raise DeadlineExceeded(
                    f"{spec.name} did not come up within {_READY:.0f} s",
                    why=(out + error) or "it says nothing",
                    next="opsctl sandbox up   (it is made anew), or --kind vm",
                ) from None
            bound.wait(0.1)


def _discard(spec: Spec, cancel: Cancel) -> None:
    """Remove the container and its volume; its snapshots stay."""
    outer.remove_container(f"{_container(spec)}-fill", cancel)
    outer.remove_container(_container(spec), cancel)
    outer.remove_volume(_container(spec), cancel)
    _marker(spec).unlink(missing_ok=True)


def _container(spec: Spec) -> str:
    """The container's and the volume's name; sandboxes of two state folders never meet."""
    return f"opsctl-{spec.name}-{hashlib.sha256(str(state_dir()).encode()).hexdigest()[:6]}"


def _image(key: str) -> str:
    return f"{REPOSITORY}:{key}"


def _marker(spec: Spec) -> Path:
    return spec.folder / "container.json"


def _options(spec: Spec) -> list[str]:
    return [
        f"--name={_container(spec)}",
        f"--hostname={spec.name}",
        f"--label={_LABEL}={spec.name}",
        f"--memory={spec.memory}",
        f"--memory-swap={spec.memory}",
        # A reboot from inside ends PID 1 with a status of its own; a stop from outside ends it with 0.
        "--restart=on-failure",
        "--stop-timeout=20",
        f"--publish=127.0.0.1:{spec.port}:22",
        f"--volume={_container(spec)}:/var/lib/docker",
    ]


def _identity(spec: Spec) -> bytes:
    """The droplet's own keys, and how its engine is started by hand, as a tar."""
    files = {
        "etc/ssh/ssh_host_ed25519_key": (spec.host_key, 0o600),
        "etc/ssh/ssh_host_ed25519_key.pub": (spec.host_key_public + "\n", 0o644),
        "etc/ssh/sandbox_authorized_keys": (spec.authorized_key + "\n", 0o644),
        "etc/init.d/docker": (_DOCKER_SERVICE, 0o755),
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, (text, mode) in files.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(text.encode()), mode
            archive.addfile(info, io.BytesIO(text.encode()))
    return packed.getvalue()


def _inspect(spec: Spec) -> dict[str, Any] | None:
    code, out, error = outer.attempt("container", "inspect", _container(spec))
    if code != 0 and "no such" in error.lower():
        return None
    if code != 0:
        raise StepFailed("the Docker engine does not answer", why=error)
    shown: dict[str, Any] = json.loads(out)[0]
    return shown


def _boot_id(spec: Spec, cancel: Cancel) -> str:
    code, out, _ = outer.attempt("exec", _container(spec), "cat", f"{_STATE}/boot_id", cancel=cancel)
    return out if code == 0 else ""


def _is_ready(spec: Spec, cancel: Cancel) -> bool:
    return outer.attempt("exec", _container(spec), "test", "-e", f"{_STATE}/ready", cancel=cancel)[0] == 0


def _ssh_answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as conn:
            conn.settimeout(2)
            return conn.recv(4) == b"SSH-"
    except OSError:
        return False


def _age(shown: dict[str, Any]) -> str:
    image = str(shown["Config"]["Image"])
    known = (_image(rootfs.recipe_key()), image if image.startswith(f"{container_disk.REPOSITORY}:") else "")
    old = "" if image in known else ", made by another version of opsctl (reset renews it)"
    return f"since {shown['State']['StartedAt'][:19]}Z{old}"


def _handed_over() -> Path:
    """A file for every image that was made from this cache, named by its recipe's key."""
    return cache_dir() / "images"


def _drop_old_images() -> None:
    _drop_images(sorted(path.name for path in _handed_over().glob("*") if not rootfs.is_cached(path.name)))


def _drop_images(keys: Sequence[str]) -> None:
    for key in keys:
        code, _, error = outer.attempt("image", "rm", _image(key))
        if code == 0 or "no such image" in error.lower():
            (_handed_over() / key).unlink(missing_ok=True)
