"""Connections: who may connect, how much a message may weigh, and what is answered when something is wrong.

Every connection has a thread that reads its requests, one at a time; the policy runs in the thread that calls `run`.
The protocol is openpi's: a metadata message, then one answer per request; a text in place of an answer is an error.
"""

from __future__ import annotations

import hmac
import http
import logging
import socket
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from vlasteer.errors import ConfigError, InputError, MissingDependencyError, VlasteerError
from vlasteer.launch.serving.batching import Answer, Batcher
from vlasteer.launch.serving.requests import read_request
from vlasteer.policies.remote.codec import pack, unpack
from vlasteer.policies.remote.messages import BAD_REQUEST, SERVER_ERROR, ServerInfo, chunk_document
from vlasteer.protocols import Policy
from vlasteer.steering import Port

if TYPE_CHECKING:
    from websockets.http11 import Request as HttpRequest
    from websockets.http11 import Response
    from websockets.sync.server import ServerConnection

_POLL_S = 0.2
_SUMMARY_S = 30.0
_GOING_AWAY, _TRY_AGAIN_LATER = 1001, 1013
Log = Callable[[str], None]


@dataclass(frozen=True)
class Access:
    """Where a server listens, and for whom.

    Attributes:
        host: address to bind.
        port: TCP port; 0 for a free one.
        token: that clients must present, or None.
        max_clients: open at once.

    Raises:
        ConfigError: an address beyond this machine without a token.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    max_clients: int = 16

    def __post_init__(self) -> None:
        if self.token is None and not _is_loopback(self.host):
            raise ConfigError(
                f"--host {self.host} lets other machines in",
                expected="a token that they must present",
                fix="Add --token-file FILE (openssl rand -hex 32 > FILE), or stay on 127.0.0.1",
            )


class PolicyServer:
    """Serves a policy whose features are mounted. Listens from construction on, answers in `run`.

    Args:
        policy: with `port` mounted.
        port: its rows bound a batch.
        info: what clients are told.
        access: where and for whom.
        window_s: how long a request waits for others to share its batch.
        log: takes lines for people.

    Raises:
        ConfigError: the address cannot be bound.
    """

    def __init__(
        self, policy: Policy, port: Port, info: ServerInfo, access: Access, *, window_s: float = 0.003, log: Log = print
    ) -> None:
        try:
            from websockets.exceptions import ConnectionClosed
            from websockets.sync.server import serve
        except ImportError as error:
            raise MissingDependencyError.for_extra("websockets", "remote") from error
        self._info, self._access, self._log = info, access, log
        self._closed_error = ConnectionClosed
        self._batcher = Batcher(policy, port, window_s=window_s, expected=lambda: len(self._clients))
        self._clients: set[_Client] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._tally = _Tally()
        try:
            self._server = serve(
                self._handle,
                access.host,
                access.port,
                origins=[None],  # no web page may talk to a robot through its reader's browser
                compression=None,
                process_request=self._admit,
                open_timeout=5,
                close_timeout=2,
                max_size=info.max_message_bytes,
                max_queue=2,
                family=socket.AF_INET6 if ":" in access.host else socket.AF_INET,
                logger=_silent_logger(),
            )
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"{access.host}:{access.port} cannot be listened at ({error})",
                fix="Choose another --port; 0 takes a free one",
            ) from error
        host, number = self._server.socket.getsockname()[:2]
        self.url = f"ws://[{host}]:{number}" if ":" in host else f"ws://{host}:{number}"
        self._listener = threading.Thread(target=self._server.serve_forever, name="listener", daemon=True)
        self._listener.start()

    def run(self, check: Callable[[], None]) -> None:
        """Answer until `check`, which is called several times a second between two batches, raises."""
        while True:
            check()
            started = time.perf_counter()
            answered = self._batcher.answer_next(_POLL_S)
            if line := self._tally.count(answered, time.perf_counter() - started, len(self._clients)):
                self._log(line)

    def close(self) -> None:
        """Stop listening, refuse what waits, close every connection in order. Idempotent."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._server.shutdown()
        self._listener.join()
        until = time.monotonic() + 10
        while self._clients and time.monotonic() < until:
            self._batcher.close()
            time.sleep(0.01)

    # -- one connection ------------------------------------------------------------------------------------------------
    def _admit(self, connection: ServerConnection, request: HttpRequest) -> Response | None:
        if request.path == "/healthz":  # as at openpi's servers
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if self._access.token is None or _presents(request, self._access.token):
            return None
        self._log(f"{_address(connection)} refused: no valid token")
        return connection.respond(http.HTTPStatus.UNAUTHORIZED, "Expected: Authorization: Api-Key TOKEN\n")

    def _handle(self, connection: ServerConnection) -> None:
        client = _Client(connection, _address(connection))
        with self._lock:
            welcome = len(self._clients) < self._access.max_clients and not self._stopping.is_set()
            if welcome:
                self._clients.add(client)
        if not welcome:
            self._log(f"{client} refused: {self._access.max_clients} clients are connected")
            connection.close(_TRY_AGAIN_LATER, "too many clients")
            return
        self._log(f"{client} connected")
        try:
            connection.send(pack(self._info.document()))
            self._converse(client)
            connection.close(_GOING_AWAY, "the server is stopping")
        except self._closed_error as error:
            self._log(f"{client} left after {client.answers} answers and {client.errors} errors ({error})")
        finally:
            with self._lock:
                self._clients.discard(client)

    def _converse(self, client: _Client) -> None:
        """Answer requests until the server stops."""
        previous_s: float | None = None
        while (message := self._receive(client.connection)) is not None:
            started = time.perf_counter()
            reply = self._reply(message, client, previous_s)
            client.connection.send(reply)
            previous_s = time.perf_counter() - started

    def _reply(self, message: bytes | str, client: _Client, previous_s: float | None) -> bytes | str:
        """The answer, or as text what was wrong."""
        try:
            answer = pack(self._answer(message, client.answers + client.errors, previous_s))
        except InputError as error:
            text = f"{BAD_REQUEST}{error}"
        except VlasteerError as error:
            text = f"{SERVER_ERROR}{error}"
            self._log(f"{client}: {error}")
        except Exception as error:  # noqa: BLE001  a defect of ours, or memory; the others are still served
            text = f"{SERVER_ERROR}{type(error).__name__}; the server's log says more"
            self._log(f"{client}: {''.join(traceback.format_exception(error))}")
        else:
            client.answers += 1
            return answer
        client.errors += 1
        if client.errors == 1:
            self._log(f"{client} was told: {text} (its further errors are only counted)")
        return text

    def _receive(self, connection: ServerConnection) -> bytes | str | None:
        while not self._stopping.is_set():
            try:
                return connection.recv(timeout=_POLL_S)
            except TimeoutError:
                continue
        return None

    def _result(self, future: Future[Answer]) -> Answer:
        while not wait([future], timeout=_POLL_S).done:
            if self._stopping.is_set():  # nobody answers any more
                raise VlasteerError("the server is stopping")
        return future.result()

    def _answer(self, message: bytes | str, count: int, previous_s: float | None) -> dict[str, Any]:
        if isinstance(message, str):
            raise InputError("the message is text", expected="a MessagePack map in a binary frame")
        request = read_request(unpack(message), self._info, default_time_s=float(count))
        answer = self._result(self._batcher.ask(request))
        timing = {
            "infer_ms": 1e3 * answer.chunk.inference_s,
            "wait_ms": 1e3 * answer.waited_s,
            "batch": answer.batch,
        }
        if previous_s is not None:  # of the request before, because it includes sending
            timing["prev_total_ms"] = 1e3 * previous_s
        return {**chunk_document(answer.chunk), "server_timing": timing}


@dataclass(eq=False)
class _Client:
    """An open connection and how often it was answered."""

    connection: ServerConnection
    address: str
    answers: int = 0
    errors: int = 0

    def __str__(self) -> str:
        return self.address


class _Tally:
    """Counts answers, and now and then has a line to say about them."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._since, self._answers, self._batches, self._busy_s = time.monotonic(), 0, 0, 0.0

    def count(self, answered: int, seconds: float, clients: int) -> str:
        """Count a batch; returns a line every `_SUMMARY_S` seconds in which there were answers, else nothing."""
        if answered:
            self._answers += answered
            self._batches += 1
            self._busy_s += seconds
        elapsed = time.monotonic() - self._since
        if elapsed < _SUMMARY_S:
            return ""
        line = ""
        if self._answers:
            line = (
                f"{self._answers} answers in {elapsed:.0f} s to {clients} clients, "
                f"{self._answers / self._batches:.1f} a batch, {1e3 * self._busy_s / self._batches:.0f} ms each"
            )
        self._begin()
        return line


def _presents(request: HttpRequest, token: str) -> bool:
    """Whether the request carries the token, as openpi's clients do (`Api-Key`) or as HTTP's do (`Bearer`)."""
    values = request.headers.get_all("Authorization")
    scheme, _, presented = (values[0] if len(values) == 1 else "").partition(" ")
    same = hmac.compare_digest(presented.strip().encode(), token.encode())  # takes as long wherever they differ
    return same and scheme.lower() in ("api-key", "bearer")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _address(connection: ServerConnection) -> str:
    """Known only while the connection is open."""
    host, port = connection.remote_address[:2]
    return f"{host}:{port}"


def _silent_logger() -> logging.Logger:
    """The library would log a traceback for everything that knocks and is no websocket."""
    logger = logging.getLogger("vlasteer.serving.websocket")
    logger.setLevel(logging.CRITICAL + 1)
    return logger
