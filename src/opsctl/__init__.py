"""opsctl: run an agent stack on a small droplet without it running out of memory."""

__version__ = "0.1.0"
