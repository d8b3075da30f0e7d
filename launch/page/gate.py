"""Who may connect to the page: the address it is bound to, the token, and which web pages may speak to it.

viser has neither authentication nor a check of origins. Its server is one call of `websockets.asyncio.server.serve`,
so that call is given our own check of every request and our own handler of connections. Everything, viser's own
traffic included, passes the one check on the one port; there is no second port behind it, as a proxy would leave open.
"""

from __future__ import annotations

import gzip
import hmac
import http
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from vlasteer.errors import ConfigError, VlasteerError

if TYPE_CHECKING:
    import viser
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

MIN_TOKEN = 16
"""Characters that a token must have at least."""

Handler = Callable[["ServerConnection"], Awaitable[None]]

_ASK = b"""<!doctype html><meta charset="utf-8"><title>vlasteer</title>
<body style="font:16px system-ui;background:#15181d;color:#d8dde4;display:grid;place-items:center;height:95vh">
<form><p>This page moves a robot. It wants the token that its operator was given.</p>
<input name="token" type="password" autofocus style="font:inherit;width:22em">
<button style="font:inherit">Enter</button>
</form></body>"""


@dataclass(frozen=True)
class Gate:
    """Where the page listens, and for whom.

    A page bound to this machine is open to the people on it, but not to web pages of others that their browsers
    happen to show (checked by the headers Host and Origin). One bound to any other address wants a token as well: in
    the address (`?token=...`), from where it moves to a cookie. The token travels in the clear, as does all the rest;
    an SSH tunnel to a page on 127.0.0.1 is the better way to reach it from elsewhere.

    Attributes:
        host: address to bind.
        port: TCP port; 0 for a free one.
        token: that browsers must present, or None.

    Raises:
        ConfigError: another address than this machine's without a token, or a token that is too short.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = None

    def __post_init__(self) -> None:
        if self.token is None and not self.is_loopback:
            raise ConfigError(
                f"a page on {self.host} lets other machines move the robot",
                expected="a token that they must present",
                fix=f"Give a token (openssl rand -hex 16), or stay on 127.0.0.1 and use a tunnel: "
                f"ssh -L {self.port}:127.0.0.1:{self.port} THIS_MACHINE",
            )
        if self.token is not None and len(self.token) < MIN_TOKEN:
            raise ConfigError(f"a page token of {len(self.token)} characters", expected=f"at least {MIN_TOKEN}")
        if not 0 <= self.port < 65536:
            raise ConfigError(f"page port {self.port}", expected="0 to 65535")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return _is_loopback(self.host)

    def refusal(self, request: Request) -> Response | None:
        """The answer to a request that may not pass; None for one that may."""
        host = request.headers.get("Host", "")
        if self.is_loopback and not _is_loopback(_hostname(host)):
            return _respond(http.HTTPStatus.MISDIRECTED_REQUEST, b"This page answers to localhost only.\n")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return _respond(http.HTTPStatus.FORBIDDEN, b"Another web page may not speak to this one.\n")
        if self.token is None or self._is_right(self._cookie(request)):
            return None
        if self._is_right(parse_qs(urlsplit(request.path).query).get("token", [""])[0]):
            cookie = f"{self._cookie_name}={self.token}; HttpOnly; SameSite=Strict; Path=/"
            return _respond(http.HTTPStatus.SEE_OTHER, b"", {"Location": "/", "Set-Cookie": cookie})
        return _respond(http.HTTPStatus.UNAUTHORIZED, _ASK, {"Content-Type": "text/html; charset=utf-8"})

    @property
    def _cookie_name(self) -> str:
        return f"vlasteer_{self.port}"  # cookies do not tell ports apart

    def _cookie(self, request: Request) -> str:
        try:
            found = SimpleCookie(request.headers.get("Cookie", "")).get(self._cookie_name)
        except CookieError:
            return ""
        return "" if found is None else found.value

    def _is_right(self, offered: str) -> bool:
        return self.token is not None and hmac.compare_digest(offered.encode(), self.token.encode())


def open_server(gate: Gate, *, index: bytes, routes: Mapping[str, Handler], label: str) -> viser.ViserServer:
    """A viser server behind the gate.

    Args:
        gate: asked about every request.
        index: the page, in place of viser's own.
        routes: path -> handler of web sockets that are not viser's.
        label: of viser's panel.

    Raises:
        ConfigError: the port is taken.
    """
    import viser

    class Server(viser.ViserServer):
        def request_share_url(self, verbose: bool = True) -> str | None:
            """Never: viser would publish the page on a server of its authors'."""
            return None

    _check_free(gate)
    with _quiet(), _gated(gate, index, routes) as gates:  # viser greets on stdout
        server = Server(host=gate.host, port=gate.port, label=label, verbose=False)
    if not gates or (gate.port and server.get_port() != gate.port):
        close_server(server)
        if not gates:
            raise VlasteerError("this viser opens its server in another way", fix="Run: pip install viser==1.1.1")
        raise _taken(gate)
    return server


def close_server(server: viser.ViserServer) -> None:
    """Stop it, without viser's farewell on stdout."""
    with _quiet():
        server.stop()


@contextmanager
def _quiet() -> Iterator[None]:
    import rich

    console = rich.get_console()
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before


@contextmanager
def _gated(gate: Gate, index: bytes, routes: Mapping[str, Handler]) -> Iterator[list[bool]]:
    """While it lasts, a server that viser opens is behind the gate; yields a list that is then no longer empty."""
    import websockets.asyncio.server as module

    logger = logging.getLogger("vlasteer.page")
    logger.setLevel(logging.CRITICAL)  # of refused and broken requests; anybody can cause those
    packed, headers = gzip.compress(index), {"Content-Type": "text/html; charset=utf-8", "Content-Encoding": "gzip"}
    original, gates = module.serve, []

    def serve(handler: Handler, *address: Any, process_request: Any = None, **options: Any) -> Any:
        if not handler.__module__.startswith("viser."):
            return original(handler, *address, process_request=process_request, **options)

        def check(connection: ServerConnection, request: Request) -> Any:
            refused = gate.refusal(request)
            if refused is not None:
                return refused
            path = urlsplit(request.path).path
            if request.headers.get("Upgrade", "").lower() != "websocket":
                if path in ("/", "/index.html"):
                    return _respond(http.HTTPStatus.OK, packed, headers)
                return process_request(connection, request)
            return None

        async def handle(connection: ServerConnection) -> None:
            path = "/" if connection.request is None else urlsplit(connection.request.path).path
            await routes.get(path, handler)(connection)

        gates.append(True)
        return original(handle, *address, process_request=check, logger=logger, **options)

    module.serve = serve  # type: ignore[assignment]
    try:
        yield gates
    finally:
        module.serve = original


def _respond(status: http.HTTPStatus, body: bytes, headers: dict[str, str] | None = None) -> Response:
    from websockets.datastructures import Headers
    from websockets.http11 import Response

    fields = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Content-Security-Policy": "frame-ancestors 'none'",  # nobody lays this page under another one's buttons
        "Referrer-Policy": "no-referrer",
        "Connection": "close",
        **(headers or {}),
    }
    return Response(status.value, status.phrase, Headers(**fields), body)


def _check_free(gate: Gate) -> None:
    # viser would silently take the next free port.
    family = socket.AF_INET6 if ":" in gate.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((gate.host, gate.port))
        except OSError as error:
            raise _taken(gate, str(error.strerror or error)) from error


def _taken(gate: Gate, why: str = "in use") -> ConfigError:
    return ConfigError(f"the page cannot listen on {gate.host}:{gate.port} ({why})", fix="Choose another port, or 0")


def _hostname(netloc: str) -> str:
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
