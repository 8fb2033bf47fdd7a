"""Which commands get the droplet that they are about."""

from __future__ import annotations

import pytest

from opsctl.model.following import about


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("opsctl logs redis --since 1h", "opsctl logs redis --since 1h -d prod"),
        ("opsctl status   (what runs)", "opsctl status -d prod   (what runs)"),
        ("ssh -v root@box\nopsctl recover --dry-run", "ssh -v root@box\nopsctl recover --dry-run -d prod"),
        ("opsctl status -d other", "opsctl status -d other"),
        ("opsctl exec postgres -- psql", "opsctl exec postgres -- psql"),
        ("opsctl init user@host", "opsctl init user@host"),
        ("docker logs redis", "docker logs redis"),
        ("", ""),
    ],
)
def test_only_opsctls_own_commands_on_a_droplet_are_told_which(text: str, wanted: str) -> None:
    assert about(text, "prod") == wanted
