"""The adapters of stores: beside `context.py` the one place where they are chosen and built.

One short function for each, with its import inside: what a command does not use is not loaded.
"""

from __future__ import annotations

from opsctl.cli.reaching import Stores

__all__ = ["Stores"]
