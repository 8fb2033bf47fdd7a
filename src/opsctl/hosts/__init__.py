"""Hosts over SSH and this machine; `connect` gives the right one."""

from opsctl.hosts.connect import connect

__all__ = ["connect"]
