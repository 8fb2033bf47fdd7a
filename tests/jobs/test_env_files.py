"""Who takes a variable of an env file, by what the compose file says."""

from __future__ import annotations

from tests.jobs.test_deploy_plan import survey

from opsctl.jobs.env_files import EnvFiles, takers

SERVICES = {
    "text": {"command": ["serve", "${TOKEN:-none}"]},
    "passed": {"environment": ["TOKEN", "OTHER=1"]},
    "mapped": {"environment": {"TOKEN": None, "OTHER": "$$TOKEN"}},
    "whole": {"env_file": "/a/.env"},
    "not": {"environment": {"TOKENS": "$TOKENS"}},
}


def test_who_names_the_variable_or_has_the_whole_file_takes_it() -> None:
    files = EnvFiles({"/a/.env": tuple(SERVICES)}, {"/a/.env": ("/a/.env",)})
    found = survey(raw={"services": SERVICES})
    assert takers(found, files, "/a/.env", ["TOKEN"]) == ("text", "passed", "mapped", "whole")
    assert takers(found, files, "/a/.env", ["NOBODYS"]) == ("whole",)
