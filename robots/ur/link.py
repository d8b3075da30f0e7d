"""The channel between a driving process and its servo process: messages of JSON over a pair of local sockets.

Neither side ever waits for the other: what does not fit into the socket is dropped and counted, and a closed end is
seen at once. Times in messages are of the monotonic clock, which all processes of a machine share. Python writes
numbers so that reading them gives the same bits.
"""

from __future__ import annotations

import json
import socket
from typing import Any

from vlasteer.errors import VlasteerError

Message = dict[str, Any]
_BUFFER = 1 << 20
_LARGEST = 1 << 18


class Link:
    """One end.

    Attributes:
        closed: whether the other end has gone.
        dropped: messages that found no room.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self.closed, self.dropped = False, 0
        end.setblocking(False)

    @classmethod
    def pair(cls) -> tuple[Link, socket.socket]:
        """This process's end, and the other's socket, to be inherited."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        return cls(ours), theirs

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def send(self, message: Message) -> bool:
        """Send, or drop; whether it went out."""
        if self.closed:
            return False
        try:
            self._socket.send(json.dumps(message).encode())
        except BlockingIOError:
            self.dropped += 1
            return False
        except OSError:
            self.closed = True
            return False
        return True

    def receive(self) -> list[Message]:
        """Everything that has arrived; never waits."""
        messages: list[Message] = []
        while not self.closed:
            try:
                data = self._socket.recv(_LARGEST)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.closed = True
                break
            messages.append(json.loads(data))
        return messages

    def close(self) -> None:
        """Close this end. Idempotent."""
        self.closed = True
        self._socket.close()


def refusal(error: VlasteerError) -> Message:
    """An error as (part of) a message; `process.raised` makes it one again."""
    return {
        "kind": type(error).__name__,
        "status": error.exit_status,
        "problem": error.problem,
        "expected": error.expected,
        "fix": error.fix,
    }
