"""The page's server from outside: what passes, what does not, over real sockets."""

from __future__ import annotations

import http.client
import json
import time

import pytest

from vlasteer.errors import ConfigError
from vlasteer.knobs import Knob, KnobBoard
from vlasteer.launch.page import Page

pytest.importorskip("viser", reason="viser is not installed (extra 'page')")
client = pytest.importorskip("websockets.sync.client", reason="websockets is not installed (extra 'page')")

TOKEN = "0123456789abcdef"


def page_of(board: KnobBoard, **options) -> Page:
    return Page(board, world_name="nowhere", cameras=("image",), knobs=board.knobs, rate_hz=20.0, port=0, **options)


@pytest.fixture
def board() -> KnobBoard:
    return KnobBoard([Knob.feature("fast", 8.0)])


def get(port: int, path: str = "/", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=headers)
    return connection.getresponse()


def operator(port: int, **headers: str):
    return client.connect(f"ws://127.0.0.1:{port}/operator", additional_headers=headers, proxy=None)


def test_one_socket_holds_and_its_end_releases(board, capfd):
    from websockets.exceptions import InvalidStatus

    with page_of(board) as page:
        port = int(page.url.rsplit(":", 1)[1].strip("/"))
        assert get(port).status == 200
        assert get(port, Origin="https://example.org").status == 403
        for path in ("/operator", "/"):
            with pytest.raises(InvalidStatus, match="403"):
                client.connect(f"ws://127.0.0.1:{port}{path}", additional_headers={"Origin": "http://a.b"}, proxy=None)
        socket = operator(port)
        socket.send(json.dumps({"press": json.loads(socket.recv())["n"]}))
        while not board.held():
            time.sleep(0.01)
        socket.close()
        end = time.monotonic() + 0.25
        while board.held():
            assert time.monotonic() < end + 1.0
        other = KnobBoard([])
        for _ in range(2):  # a failure leaves nothing on the board
            with pytest.raises(ConfigError, match="cannot listen"):
                Page(other, world_name="", cameras=(), knobs={}, rate_hz=20.0, port=port)
    assert capfd.readouterr().out == "", "viser's greetings do not reach a command's output"


def test_a_token_is_asked_for_and_kept_in_a_cookie(board):
    from websockets.exceptions import InvalidStatus

    with page_of(board, host="0.0.0.0", token=TOKEN) as page:
        port = page._server.get_port()
        assert page.url == f"http://localhost:{port}/?token={TOKEN}"
        assert get(port).status == 401
        assert get(port, "/?token=0123456789abcdeF").status == 401
        with pytest.raises(InvalidStatus, match="401"):
            operator(port)
        answer = get(port, f"/?token={TOKEN}")
        assert answer.status == 303
        cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]
        assert get(port, Cookie=cookie).status == 200
        with operator(port, Cookie=cookie) as socket:
            socket.send('{"set": {"fast": 2}}')
            while board.state().knobs["fast"].setpoint != 2.0:
                time.sleep(0.01)


def test_what_makes_no_sense_ends_the_connection(board):
    from websockets.exceptions import ConnectionClosed

    with page_of(board) as page:
        socket = operator(page._server.get_port())
        socket.send('{"jump": 1}')
        with pytest.raises(ConnectionClosed, match="1008"):
            _read_to_the_end(socket)


def _read_to_the_end(socket) -> None:
    while True:
        socket.recv(timeout=10)
