"""Who may connect."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from vlasteer.errors import ConfigError
from vlasteer.launch.page.gate import Gate

pytest.importorskip("websockets", reason="the page's server needs websockets (extra 'page')")

TOKEN = "0123456789abcdef"


def request(path: str = "/", **headers: str):
    from websockets.datastructures import Headers

    return SimpleNamespace(path=path, headers=Headers({"Host": "127.0.0.1:8080", **headers}))


class TestAddress:
    def test_beyond_this_machine_wants_a_token(self):
        with pytest.raises(ConfigError, match=r"ssh -L 8080:127\.0\.0\.1:8080"):
            Gate("0.0.0.0")
        Gate("0.0.0.0", token=TOKEN)

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
    def test_this_machine_wants_none(self, host):
        assert Gate(host).is_loopback

    def test_short_tokens_are_refused(self):
        with pytest.raises(ConfigError, match="at least 16"):
            Gate("0.0.0.0", token="secret")

    def test_ports_that_do_not_exist(self):
        with pytest.raises(ConfigError, match="65535"):
            Gate(port=70000)


class TestWithoutToken:
    def test_a_local_browser_passes(self):
        assert Gate().refusal(request()) is None
        assert Gate().refusal(request(Origin="http://127.0.0.1:8080")) is None
        assert Gate().refusal(request(Host="localhost:9000", Origin="http://localhost:9000")) is None

    def test_other_web_pages_may_not_speak_to_it(self):
        refused = Gate().refusal(request(Origin="https://example.org"))
        assert refused is not None
        assert refused.status_code == 403

    def test_nor_may_names_that_only_point_here(self):
        refused = Gate().refusal(request(Host="example.org:8080", Origin="http://example.org:8080"))
        assert refused is not None
        assert refused.status_code == 421


class TestWithToken:
    gate = Gate("0.0.0.0", token=TOKEN)

    @pytest.mark.parametrize(
        ("path", "cookie"), [("/", ""), ("/?token=wrong", ""), ("/", "vlasteer_8080=wrong"), ("/operator", "a=b; c")]
    )
    def test_nobody_passes_without_it(self, path, cookie):
        refused = self.gate.refusal(request(path, Host="arm:8080", Cookie=cookie))
        assert refused is not None
        assert refused.status_code == 401
        assert TOKEN.encode() not in refused.body

    def test_from_the_address_to_a_cookie(self):
        answer = self.gate.refusal(request(f"/?token={TOKEN}", Host="arm:8080"))
        assert answer is not None
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert self.gate.refusal(request(Host="arm:8080", Cookie=cookie.partition(";")[0])) is None

    def test_the_cookie_does_not_excuse_another_origin(self):
        cookie = f"vlasteer_8080={TOKEN}"
        refused = self.gate.refusal(request(Host="arm:8080", Cookie=cookie, Origin="http://evil:8080"))
        assert refused is not None
        assert refused.status_code == 403
