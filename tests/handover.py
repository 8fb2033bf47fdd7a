"""One droplet goes from test to test: one that was left broken is told, with the test that had it, and made whole."""

from __future__ import annotations

import json
import subprocess
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from opsctl.sandbox import breakage

if TYPE_CHECKING:
    from tests.conftest import Droplet

_CLEAN = """
for i in $(seq 50); do
    docker ps -aq | xargs -r docker rm -fv >/dev/null 2>&1
    [ -z "$(docker ps -aq)" ] && break
    sleep 0.2
done
rm -rf /var/lib/opsctl
left=$(docker ps -a --format '{{.Names}}' | paste -sd' ')
[ -z "$left" ] || echo "containers that cannot be removed: $left"
"""
# One fault a line.
_LOOK = """
docker version >/dev/null 2>&1 || { echo "its engine does not answer"; exit 0; }
CLEAN
held=$(stale_ports)
[ -z "$held" ] || echo "its engine holds port $held for no container"
"""
_ASKED = ("-o", "ConnectTimeout=10")
_PATIENCE = 60.0


class Handover:
    """Looks at the droplet between two tests, in one short SSH session."""

    def __init__(self, droplet: Droplet, state: Path) -> None:
        self._droplet, self._broken = droplet, state / droplet.name / droplet.name / "broken.json"
        self._engine = Path(breakage.__file__).with_name("breakage_engine.sh").read_text()
        self._last = "nobody"

    def give(self, test: str, *, clean: bool) -> None:
        """Hand it to a test; `clean`: with no container and no state of opsctl on it.

        What another test has broken is no failure of this one. It fails only where nothing helps.
        """
        last, self._last = self._last, test
        found = self._faults(clean)
        if not found:
            return
        said = f"{last} left the shared droplet broken: {'; '.join(found)}. Mended for {test}"
        warnings.warn(pytest.PytestWarning(said), stacklevel=2)
        for words in (("up", "--name", self._droplet.name), ("reset", "--name", self._droplet.name)):
            done = self._droplet.opsctl("sandbox", *words)
            found = self._faults(clean)
            if not found:
                return
            found.append(done.stderr)
        raise AssertionError(f"the droplet that {last} left cannot be mended: {'; '.join(found)}")

    def _faults(self, clean: bool) -> list[str]:
        if self._broken.exists():
            what = [each["what"] for each in json.loads(self._broken.read_text())["faults"]]
            return [f"what `sandbox break` did ({', '.join(what)}) was not undone"]
        script = self._engine + _LOOK.replace("CLEAN", _CLEAN if clean else "")
        *words, address = self._droplet.ssh
        argv = [*words, *_ASKED, address, "bash -s"]
        try:
            done = subprocess.run(argv, input=script, capture_output=True, text=True, timeout=_PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            return [f"it does not answer within {_PATIENCE:.0f} s"]
        return done.stdout.splitlines() if done.returncode == 0 else [f"it does not answer: {done.stderr.strip()}"]
