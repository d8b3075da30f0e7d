"""A running URScript program: a main thread and further ones, advanced together once per control period.

URScript threads are generators here; `yield` is `sync()`, the end of a thread's time slice. One motion at a time: the
latest motion command of any thread takes the arm, while a blocking move or stop keeps it until it is done.
Approximation: a real controller ends the program when two threads order motions at once; here the later one wins or
    waits.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from vlasteer.robots.twin.motion import Motion, MotionError, Move, StopJoints, StopTool, Waypoint
from vlasteer.robots.twin.robot import Robot

Thread = Generator[None, None, None]

_BRAKE_BEFORE_MOVE = 4.0  # rad/s^2


class ScriptError(Exception):
    """A runtime exception of the script: the program ends."""


class Program:
    """One program. Subclasses give `main`; the controller calls `tick`.

    Attributes:
        name: as in `def name():`.
        robot: what it acts on.
    """

    def __init__(self, name: str, robot: Robot) -> None:
        self.name, self.robot = name, robot
        self._main = self.main()
        self._threads: dict[str, Thread] = {}
        self._busy: Motion | None = None

    def main(self) -> Thread:
        """The main thread."""
        raise ScriptError(f"program '{self.name}' has no body")
        yield

    def tick(self) -> bool:
        """One time slice of every thread; False when the main thread has ended, and the program with it.

        Raises:
            ScriptError: the script failed.
        """
        try:
            next(self._main)
        except StopIteration:
            return False
        for name, thread in list(self._threads.items()):
            if self._threads.get(name) is thread:  # not killed meanwhile
                try:
                    next(thread)
                except StopIteration:
                    self._threads.pop(name, None)
        return True

    def run(self, name: str, thread: Thread) -> None:
        """Start a thread; one that has the name already is killed."""
        self.kill(name)
        self._threads[name] = thread

    def kill(self, name: str) -> bool:
        """End a thread where it stands; False when there is none. What it set in motion goes on."""
        thread = self._threads.pop(name, None)
        if thread is None:
            return False
        thread.close()
        return True

    def running(self, name: str) -> bool:
        """Whether a thread of that name runs."""
        return name in self._threads

    # --- motion functions of URScript ---------------------------------------------------------------------------------

    @property
    def arm_free(self) -> bool:
        """Whether no blocking move or stop has the arm."""
        return self._busy is None or self._busy.done or self.robot.engine.motion is not self._busy

    def move(self, waypoints: Sequence[Waypoint], on_segment: Callable[[int], None] = lambda index: None) -> Thread:
        """`movej`, `movel`, `movep`: blocks until the last waypoint is reached. The arm is braked first if it moves.

        `on_segment` is told the index of the waypoint that it is on the way to, whenever that changes. Interrupted by a
        pause or a protective stop, it goes on to the remaining waypoints from where the arm stands.
        """
        engine = self.robot.engine
        if engine.moving:
            yield from self.stop_joints(_BRAKE_BEFORE_MOVE)
        passed, move = 0, None

        def make() -> Motion:
            nonlocal passed, move
            passed += move.segment if move else 0
            try:
                move = Move(engine.arm, engine.q, waypoints[passed:])
            except MotionError as fault:
                raise ScriptError(str(fault)) from fault
            return move

        told = -1
        for _ in self._block(make):
            if move is not None and passed + move.segment != told:
                told = passed + move.segment
                on_segment(told)
            yield

    def stop_joints(self, deceleration: float) -> Thread:
        """`stopj`: blocks until the arm stands."""
        engine = self.robot.engine
        yield from self._block(lambda: StopJoints(engine.q, engine.qd, deceleration))

    def stop_tool(self, deceleration: float) -> Thread:
        """`stopl`: blocks until the arm stands."""
        engine = self.robot.engine
        yield from self._block(lambda: StopTool(engine.arm, engine.q, engine.qd, deceleration))

    def _block(self, make: Callable[[], Motion]) -> Thread:
        engine = self.robot.engine
        engine.motion = self._busy = motion = make()
        try:
            while not motion.done:
                yield
                if engine.motion is not motion and engine.motion.done and not motion.done:
                    engine.motion = self._busy = motion = make()
        finally:
            if engine.motion is motion and not motion.done:  # the thread was killed
                engine.stop(_BRAKE_BEFORE_MOVE)
