"""Where the token may come from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsctl.cloud.token import find_token
from opsctl.model.errors import ConfigError
from opsctl.model.stackfile_load import read_stack


def found(tmp_path: Path, provider: dict[str, str | int], **environ: str) -> str:
    return find_token(provider, environ={"PATH": "/usr/bin:/bin", **environ}, folder=tmp_path).reveal()


def test_the_environment_is_asked_for_the_vendors_names(tmp_path: Path) -> None:
    assert found(tmp_path, {}, DIGITALOCEAN_TOKEN="one", DIGITALOCEAN_ACCESS_TOKEN="two") == "one"
    assert found(tmp_path, {}, DIGITALOCEAN_ACCESS_TOKEN="two") == "two"
    assert found(tmp_path, {"token_env": "MINE"}, MINE="three", DIGITALOCEAN_TOKEN="one") == "three"


def test_without_one_the_error_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as none:
        found(tmp_path, {})
    assert "$DIGITALOCEAN_TOKEN and $DIGITALOCEAN_ACCESS_TOKEN" in none.value.info.why
    assert none.value.info.next.startswith("read -rs")  # typed, it would be in the shell's history
    with pytest.raises(ConfigError, match="no token"):
        found(tmp_path, {"token_env": "MINE"}, DIGITALOCEAN_TOKEN="one")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o666])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    path.write_text("tok-in-file\n")
    path.chmod(mode)
    with pytest.raises(ConfigError) as exposed:
        found(tmp_path, {"token_file": str(path)})
    assert exposed.value.info.next == f"chmod 600 {path}"
    assert "tok-in-file" not in str(exposed.value.info)
    path.chmod(0o600)
    assert found(tmp_path, {"token_file": str(path)}) == "tok-in-file"


def test_a_file_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        found(tmp_path, {"token_file": str(tmp_path / "missing")})
    with pytest.raises(ConfigError, match="not a file"):
        found(tmp_path, {"token_file": str(tmp_path)})
    (tmp_path / "empty").touch(mode=0o600)
    with pytest.raises(ConfigError, match="is empty"):
        found(tmp_path, {"token_file": str(tmp_path / "empty")})


def test_a_command_prints_it(tmp_path: Path) -> None:
    assert found(tmp_path, {"token_command": "printf 'from-%s' command"}) == "from-command"
    with pytest.raises(ConfigError, match="token_command gave no token") as failed:
        found(tmp_path, {"token_command": "echo locked >&2; exit 3"})
    assert "status 3" in failed.value.info.why
    assert "locked" in failed.value.info.why


def test_what_would_break_a_header_is_no_token(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a token"):
        found(tmp_path, {}, DIGITALOCEAN_TOKEN="good\r\nX-Evil: yes")


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ("{api: 'http://api.example.com'}", "in the clear"),
        ("{api: 'https://user:pass@api.example.com'}", "in the clear"),
        ("{token_file: a, token_env: B}", "one way"),
    ],
)
def test_the_stack_file_refuses_what_is_unsafe(tmp_path: Path, provider: str, said: str) -> None:
    text = f"version: 1\ndroplets:\n  a: {{address: root@203.0.113.7, provider: {provider}}}\n"
    with pytest.raises(ConfigError) as wrong:
        read_stack(text, tmp_path / "opsctl.yaml", environ={})
    assert said in f"{wrong.value.info.what} {wrong.value.info.why}"


def test_a_token_file_is_relative_to_the_stack_file(tmp_path: Path) -> None:
    text = "version: 1\ndroplets:\n  a: {address: root@203.0.113.7, provider: {token_file: token, api: 'http://127.0.0.1:1'}}\n"
    stack = read_stack(text, tmp_path / "opsctl.yaml", environ={})
    assert stack.droplets["a"].provider["token_file"] == str(tmp_path / "token")
