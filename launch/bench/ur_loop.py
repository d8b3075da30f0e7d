"""How punctual the servo loop is beside a busy policy, and how long it takes from an observation to motion.

    python -m vlasteer.launch.bench.ur_loop

Drives a kinematic twin on this machine. Jitter: by how much the time between two ticks of the loop differs from its
period, from the servo log; with nothing else running, and beside a process that multiplies matrices with torch on every
core. Latency: from the moment at which an observation was taken to the first target on the wire that answers it, and to
the first measured joint motion of the twin, in which servoJ's lookahead of 0.1 s and the twin's model of it are. Each
chunk is one joint step, submitted as soon as the observation is there: no inference and no camera is in it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from vlasteer.errors import WorldError
from vlasteer.kinematics import Vector
from vlasteer.robots.twin import TwinProcess
from vlasteer.robots.ur.config import TABLETOP_TCP, ActionConfig, RobotConfig
from vlasteer.robots.ur.journal import read
from vlasteer.robots.ur.world import URWorld
from vlasteer.types import EpisodeKey, Gripper, Phase

SECONDS = 15.0
STEP_RAD = 0.01
_MOVED_RAD = 1e-5
_BUSY = "import torch\na = torch.randn(1024, 1024)\nwhile True: a = torch.tanh(a @ a)"


def measure(rate_hz: Literal[125, 500], busy: bool) -> tuple[Vector, Vector, Vector, str]:
    """Lateness of ticks, latency to the wire and latency to motion (s), and what real-time means were permitted."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        twin = stack.enter_context(TwinProcess(tcp=TABLETOP_TCP))
        config = RobotConfig.of_twin(twin.host, cameras={}, gripper=None, rtde_rate_hz=rate_hz)
        action = ActionConfig(kind="joint_target", gripper=Gripper.ZERO_OPEN_ONE_CLOSED)
        config = replace(config, action=action)
        world = URWorld(config, cameras={}, gripper=None, instruction="", log=folder)
        stack.callback(world.close)
        if busy:
            load = subprocess.Popen([sys.executable, "-c", _BUSY])
            stack.callback(load.wait)
            stack.callback(load.kill)
            time.sleep(3.0)  # importing torch
        world.reset(EpisodeKey(0, 0, 0))
        servo = world._servo
        means = ", ".join(servo.status.realtime) if servo is not None else ""
        moments = _drive(world)
        entries = twin.log(0, "input")
        trace = twin.trace()
        world.close()
        late = _lateness(folder / "servo-000.jsonl", 1.0 / rate_hz)
    sent = [entry for entry in entries if entry.get("name") == "servoJ"]
    walls = np.array([entry["wall"] for entry in sent])
    angles = np.array([entry["values"]["input_double_register_0"] for entry in sent])
    wire = np.array([_first_move(walls, angles, moment, moment) for moment in moments])
    # The twin's clock falls behind where the machine is busy, and catches up.
    seen = np.interp(trace[:, 0], [entry["t"] for entry in entries], [entry["wall"] for entry in entries])
    motion = [_first_move(seen, trace[:, 7], moment + way, moment) for moment, way in zip(moments, wire, strict=True)]
    return late, wire, np.array(motion), means


def _drive(world: URWorld) -> list[float]:
    """Steps of the first joint, one at a time; when each one's observation was taken."""
    over, moments = threading.Event(), []

    def hold() -> None:
        world.permit(False)
        while not over.wait(0.05):
            world.permit(True)

    operator = threading.Thread(target=hold)
    operator.start()
    try:
        end, direction = time.monotonic() + SECONDS, 1.0
        time.sleep(0.5)
        while time.monotonic() < end:
            try:
                seen = world.observe()
                assert seen.state is not None
                target = seen.state.copy()
                target[0] += direction * STEP_RAD
                if world.submit(target[None], seen.time_s) == 0:
                    moments.append(seen.time_s)
                else:
                    world.permit(False)  # it had let go, for the robot's state was late: press anew
            except WorldError as error:  # this process was away for too long; the loop is what is measured
                print(error, file=sys.stderr)
                if world.status.phase is Phase.STOPPED:
                    world.recover()
            direction = -direction
            time.sleep(0.6)  # until it stands again
    finally:
        over.set()
        operator.join()
    return moments


def _lateness(log: Path, period_s: float) -> Vector:
    """Of every two ticks that follow each other while the loop is engaged."""
    late, last = [], None
    for entry in read(log):
        if "event" in entry:
            last = None
        elif entry.get("input") == "tick":
            if last is not None:
                late.append(abs(entry["now_s"] - last - period_s))
            last = entry["now_s"]
    return np.array(late)


def _first_move(times: Vector, angles: Vector, begin: float, moment: float) -> float:
    """Seconds from a moment to the first angle that is not as it was at the beginning."""
    first = int(np.searchsorted(times, begin)) if np.isfinite(begin) else 0
    if not 0 < first < len(times):
        return np.nan
    moved = np.flatnonzero(np.abs(angles[first:] - angles[first - 1]) > _MOVED_RAD)
    return float(times[first + moved[0]] - moment) if len(moved) else np.nan


def _row(name: str, values: Vector) -> str:
    values = values[np.isfinite(values)] * 1e3
    numbers = np.percentile(values, [50, 99, 99.9, 100]) if len(values) else np.full(4, np.nan)
    return f"| {name} | {len(values)} | " + " | ".join(f"{number:.3f}" for number in numbers) + " |"


def main() -> None:
    """Print one table."""
    rows, means = [], ""
    for rate in (125, 500):
        for busy in (False, True):
            late, wire, motion, means = measure(rate, busy)
            beside = "beside a busy torch" if busy else "alone"
            rows.append(_row(f"{rate} Hz {beside}: jitter of the period", late))
            rows.append(_row(f"{rate} Hz {beside}: observation to wire", wire))
            rows.append(_row(f"{rate} Hz {beside}: observation to motion", motion))
            print(rows[-3], rows[-2], rows[-1], sep="\n", file=sys.stderr, flush=True)
    print(f"Kinematic twin on the same machine; permitted: {means or 'nothing'}\n")
    print("| ms | n | p50 | p99 | p99.9 | max |\n|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
