"""A servo process: `python -m vlasteer.robots.ur DESCRIPTOR`, started by `process.ServoProcess` and by nobody else."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

import numpy as np

from vlasteer.errors import VlasteerError, WorldError
from vlasteer.robots.ur.config import RobotConfig
from vlasteer.robots.ur.fields import build
from vlasteer.robots.ur.journal import Journal
from vlasteer.robots.ur.limits import Limits, Workspace
from vlasteer.robots.ur.link import Link, Message
from vlasteer.robots.ur.motion import ServoMotion
from vlasteer.robots.ur.servo import Left, ServoLoop, refusal
from vlasteer.types import ActionKind

_FIRST_S = 10.0
_LAST_LINES_S = 0.005


def main(descriptor: int, loop_class: type[ServoLoop] = ServoLoop) -> int:
    """Serve one driving process; the exit status."""
    link = Link(socket.socket(fileno=descriptor))
    message = _first(link)
    if message is None:
        return 1
    try:
        config = build(RobotConfig, message["config"], "robot")
        lock = _only_one(config.host)
        journal = Journal(Path(message["log"])) if message["log"] else None
        motion = ServoMotion(
            config.arm, config.tcp, config.limits, config.workspace, 1.0 / config.rtde_rate_hz, journal
        )
        _warm_up(motion)
        loop = loop_class(
            config,
            link,
            motion,
            dry_run=message["dry_run"],
            log=journal or (lambda entry: None),
        )
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: loop.end("terminated"))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGIO, lambda *_: loop.cut_off())
        loop.open()
        link.send({"is": "opened"})
    except VlasteerError as error:
        link.send({"is": "opened", **refusal(error)})
        return error.exit_status
    with lock:
        try:
            loop.run()
        except Left as left:
            if journal is not None:
                journal.close(_LAST_LINES_S if left.code else 2.0)
            return left.code


def _warm_up(motion: ServoMotion) -> None:
    """Go through a few periods of the real thing: what Python and numpy do only once must not be done with the arm."""
    everywhere = Workspace(_LOW, _HIGH, _LOW, _HIGH, table_z=-1.5)
    tried = ServoMotion(motion.filter.arm, _NO_TOOL, Limits(), everywhere, motion.filter.period_s)
    tried.start(_FREE)
    tried.permit(False, 0.0)
    for kind in (ActionKind.EE_DELTA, ActionKind.JOINT_TARGET):
        tried.permit(True, 0.0)
        actions = np.full((2, 6), 1e-3) + (0.0 if kind is ActionKind.EE_DELTA else tried.filter.q)
        tried.submit(actions, kind, 0.05, 0.0, 0.0)
        for tick in range(20):
            tried.tick(tick * motion.filter.period_s)


_NO_TOOL = (0.0,) * 6
_LOW, _HIGH = (-1.5, -1.5, -1.5), (1.5, 1.5, 1.5)
_FREE = (0.0, -1.5, 1.5, -1.5, -1.5, 0.0)


def _first(link: Link) -> Message | None:
    """The message that opens; None when the driving process has gone."""
    deadline = time.monotonic() + _FIRST_S
    while not link.closed and (left := deadline - time.monotonic()) > 0:
        select.select([link], [], [], left)
        if messages := link.receive():
            return messages[0]
    return None


def _only_one(host: str) -> socket.socket:
    """Hold the name of this controller on this machine until the process ends, however it ends.

    Raises:
        WorldError: another servo process holds it.
    """
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        lock.bind(f"\0vlasteer-ur-{host}")  # abstract (Linux): no file to be left behind
    except OSError:
        raise WorldError(
            f"{host} is driven by another process of this machine", fix="End that one first; an arm has one controller"
        ) from None
    return lock


if __name__ == "__main__":
    try:
        status = main(int(sys.argv[1]))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)  # the client's destructors wait, and some never return
