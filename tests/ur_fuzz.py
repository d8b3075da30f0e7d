"""Policy-driven motion with everything that varies varied at random; then every command on the wire is judged.

    python tests/ur_fuzz.py --minutes 10 [--model ur5]

A scripted policy answers with 0 to 2 s of latency, in chunks of 1 to 20 actions that are gentle, wild or constant; one
knob scales its actions by steps, another one its speed; the operator presses, releases and vanishes. The judge is
`limit_checker`, which shares nothing with the filter but kinematics and configuration. How fast the twin's tool went,
and whether its controller stopped it, is told besides: commands that keep the limits are not yet an arm that follows.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from limit_checker import violations
from ur_arm import KEY, targets

from vlasteer.errors import InputError, WorldError
from vlasteer.kinematics import pose_matrix
from vlasteer.robots.twin import TwinProcess
from vlasteer.robots.ur.config import TABLETOP_TCP, RobotConfig
from vlasteer.robots.ur.reasons import Reason
from vlasteer.robots.ur.world import URWorld
from vlasteer.types import Outcome, Phase


@dataclass
class Report:
    """What happened.

    Attributes:
        counts: chunks submitted, late and senseless ones refused, presses, releases, latched stops, ...
        limits: name of a limit -> status reports in which it held something back.
        targets: servoJ commands on the wire, and `segments`: from press to release.
        tool_m, tool_m_s, joint_rad_s: way of the tool, largest speeds, of the commands.
        seen_m_s: largest speed of the twin's own tool over a tenth of a second.
        violations: what the judge found.
    """

    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    limits: Counter[str] = field(default_factory=Counter)
    targets: int = 0
    segments: int = 0
    tool_m: float = 0.0
    tool_m_s: float = 0.0
    joint_rad_s: float = 0.0
    seen_m_s: float = 0.0
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {number}" for name, number in sorted(self.counts.items()))
        limits = ", ".join(f"{name} {number}" for name, number in self.limits.most_common())
        return (
            f"{self.seconds:.0f} s; {counts}\nlimits that held something back (status reports): {limits}\n"
            f"on the wire: {self.targets} targets in {self.segments} runs, {self.tool_m:.1f} m of the tool, "
            f"at most {self.tool_m_s:.3f} m/s and {self.joint_rad_s:.3f} rad/s; the twin's tool at most "
            f"{self.seen_m_s:.3f} m/s\nviolations: {len(self.violations)}"
            + "".join(f"\n  {text}" for text in self.violations[:10])
        )


def fuzz(seconds: float, seed: int, model: Literal["ur5e", "ur5"] = "ur5e") -> Report:
    """Drive a twin for that long; a UR5 is one of the CB3 series, whose controller looks every 8 ms."""
    report = Report(seconds)
    with TwinProcess(model=model, version="3.15" if model == "ur5" else "", tcp=TABLETOP_TCP) as twin:
        config = replace(RobotConfig.of_twin(twin.host, cameras={}, gripper=None), model=model)
        world = URWorld(config, cameras={}, gripper=None, instruction="", horizon=10**9)
        over = threading.Event()
        people = [
            threading.Thread(target=_policy, args=(world, random.Random(seed), report.counts, over)),
            threading.Thread(target=_operator, args=(world, random.Random(seed + 1), report.counts, over)),
        ]
        try:
            world.reset(KEY)
            for thread in people:
                thread.start()
            _watch(twin, world, report, seconds)
        finally:
            over.set()
            for thread in people:
                if thread.is_alive():
                    thread.join()
            world.close()
        _judge(twin, config, report)
    return report


def _watch(twin: TwinProcess, world: URWorld, report: Report, seconds: float) -> None:
    """Confirm what is latched, as a person would; count what the filter does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.05)
        servo = world._servo
        if servo is not None and world.status.phase is Phase.RUNNING:
            report.limits.update(Reason(servo.status.limited).names)
        if world.outcome is Outcome.FAILED:
            report.counts["servo process lost"] += 1
            world.reset(KEY)
        elif world.status.phase is Phase.STOPPED:
            state = twin.state()
            if state["safety_mode"] == "PROTECTIVE_STOP":
                report.counts[f"protective stop: {state['safety_reason']}"] += 1
                time.sleep(5.2)
            else:
                report.counts[f"stop: {world.status.reason}"] += 1
            world.recover()


def _policy(world: URWorld, draw: random.Random, counts: Counter[str], over: threading.Event) -> None:
    direction, gain, speed = np.zeros(7), 1.0, 1.0
    while not over.is_set():
        observed = time.monotonic()
        over.wait(draw.choice((0.0, 0.05, 0.2, 0.5, draw.uniform(0.0, 2.0))))
        if draw.random() < 0.3:
            direction = np.array([draw.uniform(-1, 1) for _ in range(7)]) * draw.choice((0.05, 0.3, 1.0))
            direction[3:6] *= draw.choice((0.0, 0.1, 1.0))
        if draw.random() < 0.2:  # a knob is turned by a step
            gain, speed = draw.choice((0.1, 1.0, 1.9)), draw.choice((0.05, 0.5, 1.0))
            counts["knob steps"] += 1
        count, noise = draw.randint(1, 20), draw.choice((0.0, 0.1, 1.0))
        wild = np.array([[draw.gauss(0.0, noise) for _ in range(7)] for _ in range(count)])
        wild[:, 3:6] *= draw.choice((0.0, 0.1, 1.0))
        actions = np.clip(gain * (direction + wild), -1.1, 1.1)
        if draw.random() < 0.02:
            actions[-1, draw.randrange(7)] = draw.choice((float("nan"), float("inf"), 1e3))
        try:
            dropped = world.submit(actions, observed, speed=speed)
            counts["chunks taken" if dropped < count else "chunks while nobody holds"] += 1
        except InputError:
            counts["senseless chunks refused"] += 1
        except WorldError as error:
            counts["late chunks refused" if "old" in str(error) else "chunks refused in a stop"] += 1


def _operator(world: URWorld, draw: random.Random, counts: Counter[str], over: threading.Event) -> None:
    while not over.is_set():
        counts["presses"] += 1
        world.permit(False)
        end = time.monotonic() + draw.choice((0.2, 2.0, 8.0))
        while time.monotonic() < end and not over.wait(0.05):
            world.permit(True)
        if draw.random() < 0.5:
            world.permit(False)
            over.wait(draw.uniform(0.0, 0.6))
        else:  # gone without a word
            over.wait(draw.uniform(0.0, 1.5))


def _judge(twin: TwinProcess, config: RobotConfig, report: Report) -> None:
    trace, tool = twin.trace(0.0), pose_matrix(config.tcp)
    rows = trace[:: max(round(0.1 / np.median(np.diff(trace[:, 0]))), 1)]
    tips = np.array([(config.arm.forward(q) @ tool)[:3, 3] for q in rows[:, 7:]])
    speeds = np.linalg.norm(np.diff(tips, axis=0), axis=1) / np.diff(rows[:, 0])
    report.seen_m_s = float(speeds.max(initial=0.0))
    run: list[dict[str, Any]] = []
    for entry in [*twin.log(0, "input", "script"), {"kind": "end"}]:
        if entry.get("name") == "servoJ":
            run.append(entry)
        elif run and (entry["kind"] != "input" or entry.get("name") == "servoStop"):
            _judge_run(run, config, report)
            run = []


def _judge_run(run: list[dict[str, Any]], config: RobotConfig, report: Report) -> None:
    sent, walls = targets(run), [entry["wall"] for entry in run]
    dt, tool = 1.0 / config.rtde_rate_hz, pose_matrix(config.tcp)
    found = violations(sent, dt, config.arm, config.tcp, config.limits, config.workspace)
    for violation in found:
        gap = walls[violation.tick] - walls[max(0, violation.tick - 1)]
        report.violations.append(f"run {report.segments}, {violation}, {gap * 1e3:.1f} ms after the one before")
    tips = np.array([(config.arm.forward(q) @ tool)[:3, 3] for q in sent])
    steps = np.linalg.norm(np.diff(tips, axis=0), axis=1)
    report.targets += len(sent)
    report.segments += 1
    report.tool_m += float(steps.sum())
    report.tool_m_s = max(report.tool_m_s, float(steps.max(initial=0.0)) / dt)
    report.joint_rad_s = max(report.joint_rad_s, float(np.abs(np.diff(sent, axis=0)).max(initial=0.0)) / dt)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", choices=("ur5e", "ur5"), default="ur5e")
    arguments = parser.parse_args()
    print(fuzz(60 * arguments.minutes, arguments.seed, arguments.model))
