"""The two places where paramiko has to be taken by the hand; everything else uses it as it is documented."""

from __future__ import annotations

import importlib
import shutil
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paramiko import Channel


_LOADING = threading.Lock()  # a fleet's threads come here at the same time


def load_paramiko() -> None:
    """Import paramiko; without `invoke`, which is for `Match exec` in its own reader of ssh_config only.

    That leaves out asyncio, unittest and 100 modules more: 40 ms and 6 MB. Without OpenSSH its reader is ours too.
    """
    with _LOADING:
        aside = "invoke" not in sys.modules and "paramiko" not in sys.modules and shutil.which("ssh") is not None
        if aside:
            sys.modules["invoke"] = None  # type: ignore[assignment]
        try:
            importlib.import_module("paramiko")
        finally:
            if aside:
                del sys.modules["invoke"]


def execute(channel: Channel, command: str) -> None:
    """Ask for a command without waiting for the answer, so that its input travels with the request.

    `exec_command` waits for one, which costs a round trip; a refusal shows as the end of the channel either way.
    """
    from paramiko.common import cMSG_CHANNEL_REQUEST
    from paramiko.message import Message

    send = getattr(channel.get_transport(), "_send_user_message", None)
    if send is None:
        channel.exec_command(command)
        return
    request = Message()
    request.add_byte(cMSG_CHANNEL_REQUEST)
    request.add_int(channel.remote_chanid)
    request.add_string("exec")
    request.add_boolean(False)
    request.add_string(command)
    send(request)
