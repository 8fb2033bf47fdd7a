"""Hosts over SSH and this machine; `connect` gives the right one."""

from opsctl.hosts.connect import connect
from opsctl.hosts.retry import reading

__all__ = ["connect", "reading"]
