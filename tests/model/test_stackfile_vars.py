"""Variables in the stack file."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from opsctl.model.cancel import Cancel
from opsctl.model.errors import ConfigError
from opsctl.model.stackfile_load import read_stack
from opsctl.model.stackfile_vars import VariableError, Variables, parse_env_file, run_command

ENVIRON = {"SET": "value", "EMPTY": "", "PATH": "/usr/bin:/bin"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain", "plain"),
        ("${SET}", "value"),
        ("a${SET}b${SET}", "avaluebvalue"),
        ("${UNSET:-other}", "other"),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY-other}", ""),
        ("${UNSET-other}", "other"),
        ("${SET:-other}", "value"),
        ("${UNSET:-${SET}}", "value"),
        ("${UNSET:-}", ""),
        ("${EMPTY}", ""),
        ("${SET:?why}", "value"),
        ("$$", "$"),
        ("$${SET}", "${SET}"),
        ("$$$${SET}", "$${SET}"),
        ("$HOME costs 5$", "$HOME costs 5$"),
        ("${cmd:echo hello}", "hello"),
        ("${cmd:printf ' %s\\n\\n' x}", "x"),
        ("${cmd:echo a b | awk '{print $2}'}", "b"),
        ("${FROM_FILE}", "file"),
    ],
)
def test_expand(text: str, expanded: str) -> None:
    assert Variables(ENVIRON, {"FROM_FILE": "file", "SET": "not this"}).expand(text) == expanded


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${UNSET}", "UNSET is not set"),
        ("${UNSET:?set it to the host}", "set it to the host"),
        ("${EMPTY:?}", "EMPTY is empty"),
        ("${", "never closed"),
        ("${}", "cannot be read"),
        ("${a b}", "cannot be read"),
        ("${SET!}", "cannot be read"),
        ("${cmd:}", "without a command"),
        ("${cmd:echo oh no >&2; exit 3}", "status 3, saying: oh no"),
        ("${cmd:true}", "printed nothing"),
        ("${cmd:no-such-command-at-all}", "status 127"),
    ],
)
def test_what_cannot_be_expanded_says_why(text: str, said: str) -> None:
    with pytest.raises(VariableError) as caught:
        Variables(ENVIRON).expand(text)
    assert said in str(caught.value)
    assert caught.value.expected


def test_a_value_is_never_expanded_again() -> None:
    assert Variables({"A": "${B}$$${cmd:false}"}).expand("${A}") == "${B}$$${cmd:false}"


def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    mark = f"86{random.SystemRandom().randrange(10**9)}"
    with pytest.raises(VariableError, match="did not end within"):
        run_command(f"sleep {mark} & sleep {mark}", tmp_path, ENVIRON, seconds=0.3)
    patience = Cancel(60)
    while f"sleep {mark}" in processes() and not patience.wait(0.1):
        pass
    assert f"sleep {mark}" not in processes()


def processes() -> str:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def test_a_command_cannot_ask_questions() -> None:
    with pytest.raises(VariableError):
        Variables(ENVIRON).expand("${cmd:read answer && echo $answer}")


def test_a_command_runs_once_however_often_it_is_used(tmp_path: Path) -> None:
    variables = Variables(ENVIRON, folder=tmp_path)
    assert variables.expand("${cmd:echo x >> n; wc -l < n}") == variables.expand("${cmd:echo x >> n; wc -l < n}") == "1"


def test_what_a_failing_command_says_is_redacted() -> None:
    with pytest.raises(VariableError) as caught:
        Variables(ENVIRON).expand("${cmd:echo PASSWORD=hunter2 >&2; false}")
    assert "hunter2" not in str(caught.value)


def test_an_env_file_is_read_as_compose_reads_it() -> None:
    text = (
        "# a comment\n\nA=1\nexport B = two \nC='single $X # kept'\nD=\"line\\nbreak\"\nE=value # comment\nF=\nG=a=b\n"
    )
    assert parse_env_file(text) == {
        "A": "1", "B": "two", "C": "single $X # kept", "D": "line\nbreak", "E": "value", "F": "", "G": "a=b",
    }  # fmt: skip
    with pytest.raises(ValueError, match="line 2"):
        parse_env_file("A=1\nnonsense\n")


def test_the_environment_wins_over_the_env_file(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("HOST=file\nUSER_NAME=deploy\n")
    text = "version: 1\nenv_file: a.env\ndroplets: {a: {address: '${USER_NAME}@${HOST}'}}"
    stack = read_stack(text, tmp_path / "opsctl.yaml", environ={"HOST": "environment"})
    assert stack.droplets["a"].address == "deploy@environment"


def test_the_nearest_name_of_the_env_file_is_offered(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("DATABASE_URL=x\n")
    text = "version: 1\nenv_file: [a.env]\ndroplets: {a: {address: '${DATABSE_URL}'}}"
    with pytest.raises(ConfigError, match='did you mean "DATABASE_URL"'):
        read_stack(text, tmp_path / "opsctl.yaml", environ={})


@pytest.mark.parametrize("value", ["${cmd:touch ran}", "a@${cmd:touch ran}", "${UNSET:-${cmd:touch ran}}"])
def test_reading_a_stack_file_runs_nothing(value: str, tmp_path: Path) -> None:
    text = f"version: 1\ndroplets: {{a: {{address: '{value}'}}}}\nstores: {{s: {{redis: '${{cmd:touch ran}}'}}}}"
    with pytest.raises(ConfigError, match="outside stores and alerts"):
        read_stack(text, tmp_path / "opsctl.yaml", environ=ENVIRON)
    assert not (tmp_path / "ran").exists()
