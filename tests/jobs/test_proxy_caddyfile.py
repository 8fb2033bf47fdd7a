"""Routes found in a Caddyfile and left out of it."""

from __future__ import annotations

from opsctl.jobs.proxy_caddyfile import routes, without

SITE = """\
{
	auto_https off
}

(common) {
	header -Server
}

:80 {
	import common
	handle /health {
		respond 200
	}
	# Only who is signed in.
	handle_path /prometheus/* {
		forward_auth oauth2-proxy:4180 {
			uri /oauth2/auth
		}
		reverse_proxy prometheus:9090 # its own
	}
	reverse_proxy /api/* http://api-1:8080 api-2:8080
	reverse_proxy @grpc h2c://rpc:9000 {
		header_up Host {upstream_hostport}
	}

	handle {
		reverse_proxy orchestrator:8001
	}
}

grafana.example.com {
	reverse_proxy grafana:3000
}
"""


def seen(text: str) -> dict[str, tuple[str, ...]]:
    return {each.matcher: each.upstreams for each in routes(text)}


def test_every_route_of_every_site_is_found() -> None:
    assert [(each.matcher, each.upstreams) for each in routes(SITE)] == [
        ("/health", ()),
        ("/prometheus/*", ("oauth2-proxy", "prometheus")),
        ("/api/*", ("api-1", "api-2")),
        ("@grpc", ("rpc",)),
        ("*", ("orchestrator",)),
        ("*", ("grafana",)),
    ]
    first = next(each for each in routes(SITE) if each.matcher == "/prometheus/*")
    assert SITE.splitlines()[first.first - 1].strip().startswith("handle_path")
    assert SITE.splitlines()[first.last - 1].strip() == "}"


def test_a_route_goes_with_what_is_said_about_it_and_nothing_else() -> None:
    text, gone = without(SITE, ["prometheus"])
    assert [each.matcher for each in gone] == ["/prometheus/*"]
    assert "prometheus" not in text
    assert "signed in" not in text
    assert text.count("{") == text.count("}")
    left = SITE.splitlines()
    assert text.splitlines() == left[:12] + left[19:]


def test_a_route_whose_guard_goes_does_not_stand_open() -> None:
    text, gone = without(SITE, ["oauth2-proxy"])
    assert [each.upstreams for each in gone] == [("oauth2-proxy", "prometheus")]
    assert "/prometheus/*" not in seen(text)


def test_a_name_that_only_begins_alike_stays() -> None:
    assert without(SITE, ["api"]) == (SITE, ())
    assert without(SITE, ["prom", "rp"]) == (SITE, ())


def test_one_of_several_upstreams_takes_its_route_along() -> None:
    text, _ = without(SITE, ["api-2", "rpc"])
    assert set(seen(text)) == {"/health", "/prometheus/*", "*"}
    assert "header_up" not in text
