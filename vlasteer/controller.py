"""The controller: the one place from which knobs reach the model and the robot.

    with Controller(board, port=port, robot=robot, log=run.path / "knobs.jsonl") as controller:
        while ...:
            reading = controller.apply()                       # at a step boundary
            asked = controller.generation                      # kept with the question to the policy
            ...
            controller.moved(Moved(step, chunk, asked, ...))   # the first step that answers it was executed

`apply` stages the coefficients in the port; the policy commits them at its next control step. Hold-to-run is relayed to
the robot by a thread of its own, so that a long inference does not look like a released key, and a loop that has died
does not look like a pressed one: the relay ends with the controller, and a robot takes silence for a release. A press
that the robot does not count any more ends on the board as well: nobody is to see "running" beside an arm that holds.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from vlasteer.errors import OutputError
from vlasteer.knobs import MARK, KnobBoard, KnobChange, KnobKind, KnobReading
from vlasteer.protocols import Robot
from vlasteer.steering import Port

RELAY_S = 0.04
"""Period of the relay; a robot takes a permission older than 0.3 s for a release."""


@dataclass(frozen=True)
class AppliedChange:
    """A change of a knob and what it did.

    Attributes:
        change: what was turned.
        step: the first control step that was computed with it; None when the episode ended before.
        chunk: the policy call that this step is from.
        latency_s: from the source's `set` to that step being executed; the knob-to-motion latency.
        episode: index of the episode in its run; steps are counted within it.
    """

    change: KnobChange
    step: int | None = None
    chunk: int | None = None
    latency_s: float | None = None
    episode: int = 0

    def as_json(self) -> dict[str, object]:
        """One line of knobs.jsonl."""
        change = self.change
        return {
            "time_s": change.time_s,
            "knob": change.knob,
            "source": change.source,
            "cause": str(change.cause),
            "old": change.old,
            "new": change.new,
            "episode": self.episode,
            "step": self.step,
            "chunk": self.chunk,
            "latency_s": self.latency_s,
        }


@dataclass(frozen=True)
class Moved:
    """A control step that was executed, and the readings that it was computed with.

    Attributes:
        step: 0-based control step.
        chunk: 0-based policy call.
        asked: `Controller.generation` when the policy was asked: features and instruction are of then.
        paced: `Controller.generation` when the action was handed over: speed and replan interval are of then.
        time_s: when it was executed, by the board's clock.
    """

    step: int
    chunk: int
    asked: int
    paced: int
    time_s: float


class Controller:
    """Applies a board to a port and a robot, and finds out what each change did.

    A context manager; `apply` and `moved` are for one thread.

    Args:
        board: where the knobs are.
        port: of the mounted steering; knobs that it does not have are an error, names that have no knob stay as they
            are.
        robot: whose permission is to be relayed.
        episode: index of the episode in its run, for the log.
        log: file to which every change is appended as a line of JSON, once it has moved something.
        on_change: called with the same, from the thread that calls `moved`.

    Attributes:
        generation: count of readings so far.

    Raises:
        OutputError: the log cannot be written.
    """

    def __init__(
        self,
        board: KnobBoard,
        *,
        port: Port | None = None,
        robot: Robot | None = None,
        episode: int = 0,
        log: Path | None = None,
        on_change: Callable[[AppliedChange], None] | None = None,
    ) -> None:
        self.generation, self._episode = 0, episode
        self._board, self._port, self._robot, self._on_change = board, port, robot, on_change
        self._waiting: deque[tuple[int, KnobChange]] = deque()
        self._staged: dict[str, float | None] | None = None
        self._failure: BaseException | None = None
        self._ended, self._permitting, self._told = threading.Event(), threading.Lock(), 0
        self._relay = threading.Thread(target=self._relay_hold, name="hold-to-run", daemon=True)
        self._log: IO[str] | None = None
        if log is not None:
            try:
                self._log = log.open("a", encoding="utf-8", buffering=1)
            except OSError as error:
                raise OutputError(f"{log} cannot be written: {error.strerror or error}") from error

    def __enter__(self) -> Controller:
        if self._robot is not None:
            self._permit(self._robot)  # a robot's first word: what is held before it counts for nothing
            self._relay.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def apply(self, elapsed_s: float | None = None) -> KnobReading:
        """Read the board and stage its coefficients; at a step boundary.

        Args:
            elapsed_s: see `KnobBoard.read`.

        Raises:
            Whatever the robot raised when the permission was relayed.
        """
        if self._failure is not None:
            raise self._failure
        reading = self._board.read(elapsed_s)
        self.generation += 1
        if self._robot is not None and self._board.press() != self._told:
            self._permit(self._robot)  # at once, not at the relay's next turn: what follows may be submitted
        values = dict(reading.values)
        if self._port is not None and values != self._staged:
            self._port.set_all(values)
            self._staged = values
        self._waiting.extend((self.generation, change) for change in reading.changes)
        return reading

    def moved(self, moved: Moved) -> tuple[AppliedChange, ...]:
        """A step was executed: the changes that it is the first to answer."""
        if not self._waiting:
            return ()
        done, left = [], deque()
        for generation, change in self._waiting:
            if generation <= self._answered(change, moved):
                done.append(AppliedChange(change, moved.step, moved.chunk, moved.time_s - change.time_s, self._episode))
            else:
                left.append((generation, change))
        self._waiting = left
        for applied in done:
            self._tell(applied)
        return tuple(done)

    def close(self) -> None:
        """Withdraw the permission, and log what moved nothing any more. Idempotent."""
        self._ended.set()
        if self._relay.is_alive():
            self._relay.join()
        while self._waiting:
            self._tell(AppliedChange(self._waiting.popleft()[1], episode=self._episode))
        if self._log is not None:
            self._log.close()
            self._log = None

    def _relay_hold(self) -> None:
        robot = self._robot
        assert robot is not None
        try:
            while not self._ended.wait(RELAY_S):
                self._permit(robot)
            robot.permit(False)
        except Exception as error:  # noqa: BLE001 - whatever it was, the loop's thread has to hear of it and raises it
            self._failure = error

    def _permit(self, robot: Robot) -> None:
        with self._permitting:  # what one thread has read must not be told after what another read later
            press = self._told = self._board.press()
            robot.permit(bool(press), press)
            self._board.lose_hold(robot.status.refused_press)

    def _answered(self, change: KnobChange, moved: Moved) -> int:
        """The generation up to which such a change is in the step."""
        if change.knob == MARK:
            return self.generation
        knob = self._board.knobs.get(change.knob)
        loop = knob is not None and knob.kind in (KnobKind.SPEED, KnobKind.REPLAN)
        return moved.paced if loop else moved.asked

    def _tell(self, applied: AppliedChange) -> None:
        if self._log is not None:
            try:
                self._log.write(json.dumps(applied.as_json(), ensure_ascii=False) + "\n")
            except OSError as error:
                raise OutputError(f"the log of knobs cannot be written: {error.strerror or error}") from error
        if self._on_change is not None:
            self._on_change(applied)
