"""One websocket to a server: connecting, asking, and what can go wrong on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlasteer.errors import ConfigError, InputError, MissingDependencyError, VlasteerError
from vlasteer.policies.remote.codec import pack, unpack
from vlasteer.policies.remote.messages import BAD_REQUEST, SERVER_ERROR, ServerInfo

CONNECT_S = 10.0
ANSWER_S = 120.0
"""How long an answer may take: the first one of a large policy is slow."""
_MAX_ANSWER = 64 << 20


def read_token(path: str | Path) -> str:
    """The token in a file, without surrounding white space.

    Raises:
        ConfigError: the file cannot be read, or holds no token.
    """
    try:
        token = Path(path).expanduser().read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the token file {path} cannot be read ({error})") from error
    if len(token) < 16 or not token.isprintable() or " " in token:
        raise ConfigError(
            f"the token in {path}",
            expected="at least 16 printable ASCII characters without blanks",
            fix="Make one: openssl rand -hex 32",
        )
    return token


class Connection:
    """An open connection to a vlasteer server; carries one request at a time.

    Args:
        url: ws://host:port or wss://host:port.
        token: sent as openpi's clients send an API key.
        answer_s: seconds to wait for an answer.

    Raises:
        ConfigError: the address is none, or the token is refused.
        VlasteerError: nobody answers, or no vlasteer server does.
    """

    def __init__(self, url: str, *, token: str | None = None, answer_s: float = ANSWER_S) -> None:
        try:
            from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
            from websockets.sync.client import connect
        except ImportError as error:
            raise MissingDependencyError.for_extra("websockets", "remote") from error
        self.url, self._answer_s, self._closed_error = url, answer_s, ConnectionClosed
        headers = {"Authorization": f"Api-Key {token}"} if token else None
        try:
            # Frames are compressed already or not at all; a proxy between robot and server is a mistake.
            self._socket = connect(
                url,
                additional_headers=headers,
                compression=None,
                proxy=None,
                open_timeout=CONNECT_S,
                close_timeout=1,
                max_size=_MAX_ANSWER,
            )
        except (InvalidURI, ValueError) as error:
            raise ConfigError(f"'{url}' is no address of a server", expected="ws://host:port") from error
        except InvalidStatus as error:
            if error.response.status_code == 401:
                raise ConfigError(
                    f"the server at {url} {'refuses the token' if token else 'asks for a token'}",
                    fix="Give the file with its token: --token-file FILE",
                ) from error
            raise VlasteerError(f"the server at {url} answers HTTP {error.response.status_code}") from error
        except (OSError, InvalidHandshake) as error:  # TimeoutError is an OSError
            raise VlasteerError(
                f"no policy server answers at {url} ({error or type(error).__name__})",
                fix="Start one there: vlasteer serve --policy CHECKPOINT",
            ) from error
        try:
            self.info = ServerInfo.read(self._receive())
        except VlasteerError as error:
            self.close()
            raise VlasteerError(f"{url}: {error.problem}", expected=error.expected, fix=error.fix) from error

    def send(self, request: dict[str, Any]) -> None:
        """Send a request; `receive` its answer before the next one.

        Raises:
            VlasteerError: the connection is lost.
            InputError: the request is larger than the server takes.
        """
        message = pack(request)
        if len(message) > self.info.max_message_bytes:
            raise InputError(
                f"the request has {len(message)} bytes",
                expected=f"at most {self.info.max_message_bytes}, which is what the server at {self.url} takes",
                fix="Send smaller images, or start the server with a larger --max-message-mb",
            )
        try:
            self._socket.send(message)
        except self._closed_error as error:
            raise self._lost(error) from error

    def receive(self) -> dict[str, Any]:
        """The answer to what was sent.

        Raises:
            InputError: the server could not use the request.
            VlasteerError: it failed, did not answer in time, or the connection is lost.
        """
        return self._receive()

    def _receive(self) -> dict[str, Any]:
        try:
            message = self._socket.recv(timeout=self._answer_s)
        except TimeoutError as error:
            raise VlasteerError(f"the server at {self.url} did not answer within {self._answer_s:g} s") from error
        except self._closed_error as error:
            raise self._lost(error) from error
        if isinstance(message, str):
            if message.startswith(BAD_REQUEST):
                raise InputError(f"the server at {self.url} says: {message.removeprefix(BAD_REQUEST)}")
            raise VlasteerError(f"the server at {self.url} failed: {message.removeprefix(SERVER_ERROR)}")
        try:
            return unpack(message)
        except InputError as error:
            raise VlasteerError(f"the server at {self.url} sent something else than an answer: {error}") from error

    def _lost(self, error: Exception) -> VlasteerError:
        return VlasteerError(f"the connection to {self.url} is lost ({error})", fix="See the server's log")

    def close(self) -> None:
        """Close it. Idempotent."""
        self._socket.close()
