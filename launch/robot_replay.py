"""A robot's episode once more: its servo log through the safety filter, offline and on a twin.

Offline the recorded inputs go through trajectory and filter again, which must give the recorded commands bit for bit.
On a twin the recorded commands themselves are asked for again as joint targets, through a new filter and a new
controller: what comes out is measured.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import InputError
from vlasteer.types import EpisodeKey

if TYPE_CHECKING:
    from vlasteer.protocols import Robot
    from vlasteer.recording.episode import RecordedEpisode

RATE_HZ = 25.0
"""Of the joint targets: a whole number of servo periods, at 125 and at 500 Hz."""
_PERMIT_S = 0.04
_STILL_RAD = 1e-6
_SETTLING_STEPS = 25
_SAME_RAD = 0.02
"""1 degree: what a controller that follows with a lag leaves between two runs."""


def servo_logs(run: Path, episode: RecordedEpisode) -> list[Path]:
    """The servo logs of an episode, by its times; all of the run's where none overlaps with it.

    Raises:
        InputError: the run has none.
    """
    logs = sorted(run.rglob("servo-*.jsonl"))
    if not logs:
        raise InputError(
            f"{run} has no servo log", expected="a run of a robot, recorded with vlasteer drive --robot ... --record"
        )
    first, last = float(episode.times_s[0]), float(episode.times_s[-1])
    return [log for log in logs if _overlaps(log, first, last)] or logs


def _overlaps(log: Path, first_s: float, last_s: float) -> bool:
    from vlasteer.robots.ur.journal import read

    times = [entry["now_s"] for entry in read(log) if entry.get("input") == "tick"]
    return bool(times) and times[0] <= last_s and times[-1] >= first_s


def verify(log: Path) -> tuple[int, str]:
    """How many commands of a servo log come out the same bit for bit, and "" or what differs."""
    from vlasteer.robots.ur.journal import verify as verify_log

    try:
        return verify_log(log), ""
    except InputError as error:
        return 0, str(error)


@dataclass(frozen=True, eq=False)
class Resent:
    """Recorded commands that went through a filter again.

    Attributes:
        wanted: float64 [n, 6] recorded joint angles (rad), `RATE_HZ` a second.
        commanded: float64 [n, 6] what the filter made of them.
        measured: float64 [n, 6] where the arm was.
        reasons: why a command was not what was wanted, in words, each once.
    """

    wanted: NDArray[np.float64]
    commanded: NDArray[np.float64]
    measured: NDArray[np.float64]
    reasons: tuple[str, ...]

    @property
    def end_error_rad(self) -> float:
        """Largest distance of a joint from where it ended in the recording."""
        return float(np.abs(self.measured[-1] - self.wanted[-1]).max())

    @property
    def reproduced(self) -> bool:
        """Whether the arm came to where it was, on the way on which it came there."""
        return self.end_error_rad < _SAME_RAD and self.path_error_rad < _SAME_RAD

    @property
    def path_error_rad(self) -> float:
        """Largest distance of a commanded joint from the nearest recorded one: off the path, whenever."""
        return max(float(np.abs(self.wanted - q).max(axis=1).min()) for q in self.commanded)


def recorded_commands(log: Path) -> NDArray[np.float64]:
    """float64 [n, 6] filtered joint angles (rad) at `RATE_HZ`, from the first that moves to the last.

    Raises:
        InputError: nothing moved, or it is no servo log.
    """
    from vlasteer.robots.ur.journal import read

    entries = read(log)
    period = next((entry["period_s"] for entry in entries if entry.get("input") == "configure"), None)
    commands = np.array([entry["command"] for entry in entries if "command" in entry])
    if period is None or len(commands) < 2:
        raise InputError(f"{log} holds no commands", expected="the servo log of an arm that moved")
    moving = np.flatnonzero(np.abs(np.diff(commands, axis=0)).max(axis=1) > _STILL_RAD)
    if not len(moving):
        raise InputError(f"in {log} nothing moved")
    every = round(1.0 / (RATE_HZ * period))
    rows = np.arange(moving[0], moving[-1] + 2, every)
    return commands[np.append(rows, moving[-1] + 1)]


def resend(robot: Robot, wanted: NDArray[np.float64], progress: Callable[[int, int], None]) -> Resent:
    """Ask for joint targets [n, 6] once more, one a period, then wait until the arm stands.

    Args:
        robot: takes joint targets at `RATE_HZ`; stands where they begin.
        wanted: the targets.
        progress: called with targets sent and targets in all.

    Raises:
        WorldError: the robot stopped.
    """
    commanded, measured, reasons = [], [], []
    robot.reset(EpisodeKey(0, 0, 0))
    with held(robot):
        targets = np.vstack([wanted, np.repeat(wanted[-1:], _SETTLING_STEPS, axis=0)])
        for k, target in enumerate(targets):
            executed = robot.act(np.append(target, 0.0))
            commanded.append(executed[:6])
            status = robot.status
            measured.append(status.joints)
            reasons.append(status.reason)
            progress(min(k + 1, len(wanted)), len(wanted))
    robot.stop("replayed")
    return Resent(
        wanted, np.array(commanded), np.array(measured), tuple(dict.fromkeys(reason for reason in reasons if reason))
    )


@contextmanager
def held(robot: Robot) -> Iterator[None]:
    """Permission to move, from a thread: only where nothing real moves."""
    over = threading.Event()

    def hold() -> None:
        while not over.wait(_PERMIT_S):
            robot.permit(True)

    robot.permit(False)
    time.sleep(_PERMIT_S)
    thread = threading.Thread(target=hold, name="permission", daemon=True)
    thread.start()
    time.sleep(1.0)  # the control script is uploaded when the operator presses
    try:
        yield
    finally:
        over.set()
        thread.join()
        robot.permit(False)


@contextmanager
def twin_at(joints: NDArray[np.float64]) -> Iterator[Robot]:
    """A twin that stands at these joint angles and takes joint targets."""
    from vlasteer.robots.twin import TwinProcess
    from vlasteer.robots.ur.config import TABLETOP_TCP, ActionConfig, RobotConfig
    from vlasteer.robots.ur.world import URWorld

    with TwinProcess(tcp=TABLETOP_TCP, joints=tuple(joints.tolist())) as process:
        config: Any = RobotConfig.of_twin(process.host)
        action = ActionConfig(kind="joint_target", rate_hz=RATE_HZ)
        config = replace(config, action=action, cameras={}, gripper=None)
        world = URWorld(config, cameras={}, gripper=None, instruction="replay")
        try:
            yield world
        finally:
            world.close()
