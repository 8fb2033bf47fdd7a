"""What a deploy says that changes, what it reads from here, how it edits an env file: without a droplet."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsctl.docker.release_list import parse_releases
from opsctl.jobs.deploy_diff import changes, drifted
from opsctl.jobs.deploy_order import in_order, proved_last
from opsctl.jobs.deploy_source import folder_of, pushed
from opsctl.jobs.env_text import check_name, names, quoted, with_value, without
from opsctl.jobs.rollback import choose
from opsctl.jobs.startup_actions import AwaitGate, Start
from opsctl.model.errors import ConfigError, UsageError
from opsctl.model.plan import Step
from opsctl.model.stack import Droplet


def test_the_diff_names_what_changes_and_never_a_value_that_may_be_secret() -> None:
    old = {
        "image": "app:1",
        "environment": {"A": "secret-one", "B": "2"},
        "command": ["run", "--token", "secret-two"],
        "logging": {"driver": "syslog", "options": {"syslog-address": "tcp://u:secret-three@h"}},
        "deploy": {"resources": {"limits": {"memory": "67108864", "cpus": "0.5"}}},
        "volumes": [{"type": "volume", "source": "data", "target": "/data"}],
    }
    new = {
        "image": "app:2",
        "environment": {"A": "secret-four", "C": "3"},
        "command": ["run", "--token", "secret-five"],
        "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
        "deploy": {"resources": {"limits": {"memory": "134217728"}}},
        "volumes": [{"type": "bind", "source": "/srv/data", "target": "/data", "read_only": True}],
        "restart": "always",
    }
    said = changes(old, new)
    assert said == (
        "image app:1 → app:2",
        "env +C",
        "env -B",
        "env ~A",
        "memory limit 67 MB → 134 MB",
        "cpus 0.5 → none",
        "logging syslog, syslog-address → json-file, max-size 10m, max-file 3",
        "mount +/srv/data:/data:ro",
        "mount -data:/data",
        "command changed",
        "restart none → always",
    )
    assert "secret" not in " ".join(said)
    assert changes(new, new) == ()


def push(what: Path, compose: tuple[str, ...] = ("/opt/x/docker-compose.yml",)) -> dict[str, tuple[bytes, int]]:
    bundle = pushed(what, "/opt/x", compose).bundle
    assert bundle is not None
    return dict(bundle.files)


def test_a_folder_is_read_with_its_modes_its_line_ends_mended_and_nothing_of_git(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config").write_text("x")
    (tmp_path / "docker-compose.yml").write_bytes(b"a: 1\r\nb: 2\r\n")
    (tmp_path / "data.bin").write_bytes(b"\0\r\n")
    (tmp_path / ".env").write_text("A=1\n")
    (tmp_path / "run.sh").write_text("x")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "link").symlink_to("run.sh")
    source = pushed(tmp_path, "/opt/x", ())
    assert source.bundle is not None
    assert dict(source.bundle.files) == {
        "/opt/x/docker-compose.yml": (b"a: 1\nb: 2\n", 0),
        "/opt/x/data.bin": (b"\0\r\n", 0),
        "/opt/x/.env": (b"A=1\n", 0o600),
        "/opt/x/run.sh": (b"x", 0o755),
    }
    assert source.bundle.mended == ("docker-compose.yml",)
    assert source.bundle.left_out == ("link (a symbolic link)",)


def test_one_file_goes_where_its_like_is(tmp_path: Path) -> None:
    file = tmp_path / "compose.prod.yml"
    file.write_text("a: 1")
    assert list(push(file)) == ["/opt/x/docker-compose.yml"]
    assert list(push(file, ("/opt/x/a.yml", "/opt/y/compose.prod.yml"))) == ["/opt/y/compose.prod.yml"]
    other = tmp_path / "Caddyfile"
    other.write_text("x")
    assert list(push(other)) == ["/opt/x/Caddyfile"]


def test_what_cannot_be_pushed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        push(tmp_path / "nothing")
    with pytest.raises(UsageError, match="there is no file"):
        push(tmp_path)
    (tmp_path / "large").write_bytes(b"x" * 2_000_001)
    with pytest.raises(ConfigError, match="large has"):
        push(tmp_path)
    for number in range(501):
        (tmp_path / f"f{number}").write_text("")
    with pytest.raises(ConfigError, match="502 files"):
        push(tmp_path)
    with pytest.raises(UsageError, match="whole path"):
        folder_of(Droplet("a", "local"), "relative", ())
    with pytest.raises(ConfigError, match="no compose file is known"):
        folder_of(Droplet("a", "local"), "", ())


def test_an_env_file_keeps_what_is_not_asked_for() -> None:
    text = "# head\nA=1\nexport B = 'x\ny=z'\nA=2\n\nC=3"
    assert names(text) == ("A", "B", "C")
    assert with_value(text, "A", "new") == "# head\nexport B = 'x\ny=z'\nA=new\n\nC=3"
    assert with_value(text, "D", "a b") == text + "\nD='a b'\n"
    assert with_value("", "D", "") == "D=\n"
    assert without(text, "B") == "# head\nA=1\nA=2\n\nC=3"
    assert without(text, "A") == "# head\nexport B = 'x\ny=z'\n\nC=3"
    assert without(text, "Z") == text


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain-1.2/3:4@h", "plain-1.2/3:4@h"),
        ("$HOME", "'$HOME'"),
        ("it's", '"it\'s"'),
        ("a'$b\"c\\d\ne", '"a\'\\$b\\"c\\\\d\\ne"'),
        ("# no comment", "'# no comment'"),
    ],
)
def test_a_value_is_quoted_as_compose_reads_it(value: str, written: str) -> None:
    assert quoted(value) == written


def test_a_value_among_the_arguments_is_refused_without_being_repeated() -> None:
    with pytest.raises(UsageError) as refused:
        check_name("TOKEN=hush-hush")
    info = refused.value.info
    assert "hush" not in f"{info.what}{info.why}{info.next}" and "opsctl env set TOKEN" in info.next
    with pytest.raises(UsageError, match="cannot be the name"):
        check_name("1A")


LISTING = """\
current 20261120-100000-aa
back {back}
release 20261119-100000-0 done
meta {{"at":"x","up":["a"]}}
file 0\tcompose\t644\tabc\t/opt/x/docker-compose.yml
release 20261120-100000-aa done
meta {{"at":"x","user":"u","up":["a"],"git":{{"commit":"c"}}}}
image a\tapp:1\tsha256:1\t
file 0\tcompose\t644\tabc\t/opt/x/docker-compose.yml
file 1\tenv\t600\tdef\t/opt/x/.env
now {now}\t/opt/x/docker-compose.yml
now 000\t/opt/x/.env
{more}
"""


@pytest.mark.parametrize(
    ("now", "more", "back", "wanted", "chosen"),
    [
        ("abc", "", "", "", "20261119-100000-0"),
        ("xyz", "", "", "", "20261120-100000-aa"),  # edited since: the current one as it was kept
        ("abc", "release 20261121-100000-bb begun\nmeta {}", "", "", "20261120-100000-aa"),  # a deploy cut short
        ("abc", "release 20261121-100000-0 adopting\nmeta {}", "", "", "20261119-100000-0"),
        ("xyz", "", "20261119-100000-0 a", "", "20261119-100000-0"),  # a rollback cut short goes on
        ("abc", "", "", "20261120", "20261120-100000-aa"),
    ],
)
def test_which_release_a_rollback_means(now: str, more: str, back: str, wanted: str, chosen: str) -> None:
    found = parse_releases(LISTING.format(now=now, more=more, back=back))
    assert choose(found, wanted).id == chosen
    current = next(each for each in found if each.current)
    assert current.git == {"commit": "c"} and current.moved_env == ("/opt/x/.env",)


def test_a_release_that_cannot_be_meant_is_said() -> None:
    found = parse_releases(LISTING.format(now="abc", more="", back=""))
    for wanted, says in (("2026", "several"), ("x", "no release of this droplet")):
        with pytest.raises(UsageError, match=says):
            choose(found, wanted)
    with pytest.raises(UsageError, match="no release is kept"):
        choose((), "")
    with pytest.raises(UsageError, match="no release before"):
        choose(found[:1], "")


def gate(name: str, phase: int, *needs: str) -> Step:
    return Step(f"gate:{name}", "", AwaitGate(name, ""), name, phase, needs)


def test_what_stays_is_asked_after_what_changes_but_never_in_a_circle() -> None:
    start = Step("start:new", "", Start("new", ""), "new", 1, ("gate:below",))
    steps = [gate("below", 1), gate("beside", 1), start, gate("new", 1, "start:new"), gate("later", 2)]
    found = {step.id: step.needs for step in proved_last(steps, lambda _: False)}
    assert found["gate:below"] == (), "what changes waits for it"
    assert found["gate:beside"] == ("gate:new",) and found["gate:later"] == ("gate:new",)
    ordered = [step.id for step in in_order(proved_last(steps, lambda _: False))]
    assert ordered.index("gate:beside") > ordered.index("gate:new") > ordered.index("start:new")


def test_what_a_container_runs_with_is_compared_by_name_and_what_its_image_brings_is_nobodys_change() -> None:
    running = {"PATH": "/bin", "OLD": "1", "SAME": "a$b", "KEY": "one"}
    new = {"environment": {"SAME": "a$$b", "KEY": "two", "NEW": "x", "UNSET": None}}
    assert drifted(running, {"PATH"}, new) == ("env +NEW", "env -OLD", "env ~KEY")
