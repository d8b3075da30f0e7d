"""The driving process's side of the servo process: start it, talk to it, keep its newest word.

The servo process is another interpreter, started anew for every episode and thrown away after it. It shares nothing
with this one but a pair of sockets, so that nothing that happens here (inference, a page, a crash) delays it or takes
it along; and it ends by itself, with the arm stopped, when this one is gone.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import Any

from vlasteer.errors import ConfigError, InputError, VlasteerError, WorldError
from vlasteer.kinematics import Vector
from vlasteer.robots.ur import dashboard
from vlasteer.robots.ur.config import RobotConfig
from vlasteer.robots.ur.link import Link, Message
from vlasteer.robots.ur.preflight import Check
from vlasteer.robots.ur.status import ServoStatus
from vlasteer.types import ActionKind, Phase

PROGRAM = ("-m", "vlasteer.robots.ur")
"""What the interpreter of a servo process runs."""
_OPEN_S = 20.0  # connecting, five seconds of waiting for the script included
_ANSWER_S = 1.0
_END_S = 6.0
_SILENT_S = 1.0


class ServoProcess:
    """One servo process: made, then `open`, then used. Methods may be called from any thread.

    Args:
        config: the robot.
        dry_run: receive only; nothing that moves is ever sent.
        log: file for the servo log (see `motion`), or None.
        on_status: told every period's status, in this object's own thread; must be quick and must not raise.
        program: what the interpreter runs, for tests.

    Attributes:
        checks: rows of the preflight, also of one that refused.
        status: the newest word of the process, which may be old when it has gone.
    """

    def __init__(
        self,
        config: RobotConfig,
        *,
        dry_run: bool = False,
        log: Path | None = None,
        on_status: Callable[[ServoStatus], None] = lambda status: None,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self.checks: list[Check] = []
        self.status = ServoStatus()
        self._on_status, self._news = on_status, threading.Condition()
        self._answers: dict[int, Message] = {}
        self._numbers = count()
        self._opened: Message | None = None
        self._closing, self._host = False, config.host
        self._sending = threading.Lock()
        self._link, theirs = Link.pair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, *program, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno() if _has_descriptor(sys.stderr) else None,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C is the driving process's business, which then stops the arm
            )
        self._thread = threading.Thread(target=self._listen, name="servo link", daemon=True)
        self._thread.start()
        self._opening = {"do": "open", "config": asdict(config), "dry_run": dry_run, "log": str(log or "")}

    def open(self) -> None:
        """Connect, and compare the robot with its file. Moves nothing.

        Raises:
            WorldError: preflight refuses, somebody else drives the robot, or it does not answer; the process has ended.
            OutputError: the log cannot be written.
        """
        try:
            self._send(self._opening)
            self._wait_open()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can still be talked to."""
        return not self._link.closed

    def submit(
        self,
        actions: Vector,
        kind: ActionKind,
        step_s: float,
        observed_at_s: float,
        speed: float,
        chunk: int,
    ) -> int:
        """Hand over a chunk [n, 6] (see `ServoMotion.submit`) as number `chunk`; how many actions were dropped.

        Raises:
            InputError: refused as senseless; nothing was taken.
            WorldError: too old, or the arm has stopped.
        """
        answer = self._ask(
            {
                "do": "submit",
                "actions": actions.tolist(),
                "kind": kind.value,
                "step_s": step_s,
                "observed_at_s": observed_at_s,
                "speed": speed,
                "chunk": chunk,
            },
            _ANSWER_S,
        )
        return int(answer["dropped"])

    def permit(self, held: bool, press: int = 0) -> None:
        """The operator's word, said now."""
        self._send({"do": "permit", "held": held, "press": press, "time_s": time.monotonic()})

    def recover(self, timeout_s: float = 10.0) -> None:
        """A person has looked and confirms: leave a latched stop, unlocking a protective stop. The arm stays still.

        Raises:
            WorldError: the controller refuses, or the stop is one that ends at the pendant only.
        """
        self._ask({"do": "recover"}, timeout_s)
        self.wait_status(0.1)

    def end(self, reason: str) -> None:
        """Have the arm decelerated and the program ended; wait until the process has gone, or end it. Idempotent."""
        self._closing = True
        self._send({"do": "end", "reason": reason})
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        self.close()
        self._said(replace(self.status, phase=Phase.STOPPED, reason=reason))

    def close(self) -> None:
        """End the process at once, if it has not ended; the controller's watchdog then stops the arm. Idempotent."""
        self._closing = True
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        if self._thread is not threading.current_thread():
            self._thread.join(2.0)
        self._link.close()

    def wait_status(self, timeout_s: float) -> None:
        """Until the next status, or that long."""
        with self._news:
            self._news.wait(timeout_s)

    # --- the link -----------------------------------------------------------------------------------------------------

    def _send(self, message: Message) -> bool:
        with self._sending:
            return self._link.send(message)

    def _ask(self, message: Message, timeout_s: float) -> Message:
        number = next(self._numbers)
        with self._news:
            if not self._send({**message, "number": number}):
                raise self._gone()
            self._news.wait_for(lambda: number in self._answers or self._link.closed, timeout_s)
            answer = self._answers.pop(number, None)
        if answer is None:
            raise (
                self._gone()
                if self._link.closed
                else WorldError(
                    f"the servo process did not answer within {timeout_s:g} s", fix="Stop, look at the arm, start again"
                )
            )
        if "problem" in answer:
            raise raised(answer)
        return answer

    def _listen(self) -> None:
        """The thread: every message, until the process has gone."""
        while not self._link.closed:
            select.select([self._link], [], [], _SILENT_S)
            for message in self._link.receive():
                self._take(message)
        if not self._closing:
            self._process.wait()
            if not self._opening["dry_run"]:  # besides the controller's watchdog, which is on its way
                dashboard.stop_program(self._host)
            self._said(replace(self.status, phase=Phase.STOPPED, reason=self._gone().problem))
        with self._news:
            self._news.notify_all()

    def _take(self, message: Message) -> None:
        kind = message["is"]
        if kind == "status":
            self._said(ServoStatus.of(message))
            return
        with self._news:
            if kind == "preflight":
                self.checks = [Check(**row) for row in message["rows"]]
            elif kind == "opened":
                self._opened = message
            elif kind == "answer":
                self._answers[message["number"]] = message
            self._news.notify_all()

    def _said(self, status: ServoStatus) -> None:
        self.status = status
        self._on_status(status)
        with self._news:
            self._news.notify_all()

    def _wait_open(self) -> None:
        with self._news:
            self._news.wait_for(lambda: self._opened is not None or self._link.closed, _OPEN_S)
        if self._opened is None:
            if self._link.closed:
                raise self._gone()
            raise WorldError(
                f"no connection to {self._host} within {_OPEN_S:g} s", fix="Check the address and the cable"
            )
        if "problem" in self._opened:
            raise raised(self._opened)

    def _gone(self) -> WorldError:
        status = self.status
        code = self._process.poll()
        why = status.reason if status.phase is Phase.STOPPED and status.reason else ""
        if not why and code is not None and code < 0:
            why = f"ended by {signal.Signals(-code).name}"
        elif not why:
            why = f"ended with status {code}"
        return WorldError(f"the servo process has gone: {why}", fix="Look at the arm and the pendant, then start again")


def raised(message: Message) -> VlasteerError:
    """The refusal that came over the link, as what it was raised as."""
    kinds: dict[str, type[VlasteerError]] = {"ConfigError": ConfigError, "InputError": InputError}
    kind = kinds.get(message["kind"], WorldError if message["status"] == 1 else InputError)
    return kind(message["problem"], expected=message["expected"], fix=message["fix"])


def _has_descriptor(stream: Any) -> bool:
    try:
        return stream.fileno() >= 0
    except (OSError, ValueError, AttributeError):
        return False


def age_s(status: ServoStatus) -> float:
    """How old the robot's state is now, the way from the servo process included."""
    return status.state_age_s + (time.monotonic() - status.time_s if status.time_s else math.inf)
