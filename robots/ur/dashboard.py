"""The controller's dashboard server (port 29999): one line asked, one line answered, never waiting long.

Source: Universal Robots, "Dashboard Server e-Series" and its CB3 counterpart. In place of `ur_rtde`'s client, which
waits without limit for a controller that has stalled, and refuses questions by version. Each question is a connection
of its own, so that stopping works whatever became of the others.

Only what reads, stops or unlocks is here. Powering on, releasing brakes and starting programs are done at the pendant.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time

from vlasteer.errors import WorldError

PORT = 29999
_UNKNOWN = "could not understand"


def ask(host: str, line: str, timeout_s: float = 2.0) -> str:
    """The reply to one line, without its newline; "" when the controller does not know the question.

    Raises:
        WorldError: no answer within that time.
    """
    deadline = time.monotonic() + timeout_s
    try:
        with socket.create_connection((host, PORT), timeout_s) as connection:
            replies = _lines(connection, deadline)
            next(replies)  # the banner
            connection.sendall(line.encode() + b"\n")
            reply = next(replies)
    except (OSError, StopIteration) as error:
        raise WorldError(
            f"the dashboard of {host} does not answer '{line}' ({error or 'it hung up'})",
            fix="Check the address, the cable, and that the controller is on",
        ) from error
    return "" if reply.lower().startswith(_UNKNOWN) else reply


def sentinel(host: str) -> socket.socket:
    """An idle connection that raises SIGIO in this process as soon as the controller ends it, or says anything.

    `ur_rtde` begins to reconnect by itself within milliseconds of a drop, and crashes under calls meanwhile; polling
    once a period would come too late.

    Raises:
        WorldError: no answer.
    """
    try:
        connection = socket.create_connection((host, PORT), 2.0)
        next(_lines(connection, time.monotonic() + 2.0))  # the banner
    except (OSError, StopIteration) as error:
        raise WorldError(f"the dashboard of {host} does not answer", fix="Check the address and the cable") from error
    connection.setblocking(False)
    fcntl.fcntl(connection, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(connection, fcntl.F_SETFL, fcntl.fcntl(connection, fcntl.F_GETFL) | os.O_ASYNC)
    return connection


def stop_program(host: str, timeout_s: float = 0.4) -> bool:
    """End the program that runs, if the controller can be reached; whether it said so."""
    try:
        return ask(host, "stop", timeout_s) == "Stopped"
    except WorldError:
        return False


def unlock_protective_stop(host: str) -> None:
    """Unlock it. The controller allows that 5 s after the stop at the earliest.

    Raises:
        WorldError: the controller refuses.
    """
    reply = ask(host, "unlock protective stop")
    if not reply.startswith("Protective stop releasing"):
        raise WorldError(
            f"the protective stop was not unlocked: {reply or 'no such command'}",
            fix="Look for its cause, wait 5 s, and confirm again",
        )


def _lines(connection: socket.socket, deadline: float):
    buffer = b""
    while True:
        while b"\n" not in buffer:
            connection.settimeout(max(deadline - time.monotonic(), 1e-3))
            data = connection.recv(4096)
            if not data:
                return
            buffer += data
        line, _, buffer = buffer.partition(b"\n")
        yield line.decode(errors="replace").strip()
