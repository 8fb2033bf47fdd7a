"""What a machine droplet is started with: QEMU's arguments, the kernel's, its keys and its name."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import time
from pathlib import Path

from opsctl.sandbox import qmp
from opsctl.sandbox.disk import Base
from opsctl.sandbox.kinds import Spec
from opsctl.sandbox.vm_accel import QEMU, Accel
from opsctl.sandbox.vm_process import PIDFILE

LAYER = "disk.qcow2"
CONSOLE = "console.log"
IDENTITY = "identity"

# The machine belongs to whoever runs it: defences against other tenants would only cost emulated time. `norandmaps`
# does most: translated code is kept by its address, and what lies elsewhere in each process is translated anew in each.
# The next boot's writes over a page with ten thousand translations take milliseconds a byte.
_KERNEL = (
    *("root=/dev/nvme0n1", "rw", "rootflags=noinit_itable", "net.ifnames=0", "psi=1", "panic=5"),
    *("mitigations=off", "audit=0", "apparmor=0", "selinux=0", "nokaslr", "norandmaps", "nowatchdog"),
    *("console=ttyS0", "loglevel=4", "TERM=dumb"),
)


def argv(spec: Spec, base: Base, accel: Accel) -> list[str]:
    """QEMU's arguments, for a process that starts in the machine's folder. Nothing secret is among them."""
    name = hashlib.sha256(spec.host_key_public.encode()).hexdigest()[:32]
    kernel = (*_KERNEL, f"systemd.hostname={spec.name}", f"systemd.machine_id={name}", *accel.kernel)
    return [
        *(QEMU, "-name", f"opsctl-sandbox-{spec.name}", "-machine", "q35", *accel.options, "-smp", "2"),
        *("-m", f"{spec.memory // 2**20}", "-nodefaults", "-no-user-config", "-display", "none"),
        *("-daemonize", "-pidfile", PIDFILE, "-kernel", str(base.kernel), "-append", " ".join(kernel)),
        # NVMe is the one disk whose driver Debian's kernel has built in: no initrd. `unsafe` ignores the guest's
        # flushes to this machine's own disk, which only a crash of this machine could tell.
        *("-drive", f"if=none,id=disk,file={LAYER},format=qcow2,cache=unsafe,discard=unmap"),
        *("-device", "nvme,drive=disk,serial=sandbox", "-smbios", f"type=11,path={IDENTITY}"),
        *("-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{spec.port}-:22"),
        *("-device", "virtio-net-pci,netdev=net,romfile=", "-serial", f"file:{CONSOLE}"),
        *("-chardev", f"socket,id=control,path={qmp.CONTROL},server=on,wait=off", "-serial", "chardev:control"),
        *("-qmp", f"unix:{qmp.MONITOR},server=on,wait=off"),
    ]


def write_identity(spec: Spec, folder: Path) -> None:
    """Keys and name as a credential that systemd takes from the firmware; in a file, for argv is for all to read."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=tarfile.USTAR_FORMAT) as tar:
        _add(tar, "hostname", spec.name)
        _add(tar, "hosts", f"127.0.0.1 localhost\n127.0.1.1 {spec.name}\n::1 localhost ip6-localhost ip6-loopback")
        _add(tar, "ssh/sandbox_authorized_keys", spec.authorized_key)
        _add(tar, "ssh/ssh_host_ed25519_key.pub", spec.host_key_public)
        _add(tar, "ssh/ssh_host_ed25519_key", spec.host_key, mode=0o600)
    text = base64.b64encode(packed.getvalue()).decode()
    path = folder / IDENTITY
    path.touch(mode=0o600)
    path.write_text(f"io.systemd.credential.binary:sandbox.identity={text}")


def _add(tar: tarfile.TarFile, name: str, text: str, *, mode: int = 0o644) -> None:
    data = (text.rstrip("\n") + "\n").encode()
    entry = tarfile.TarInfo(f"etc/{name}")
    entry.size, entry.mode, entry.mtime = len(data), mode, int(time.time())
    tar.addfile(entry, io.BytesIO(data))
