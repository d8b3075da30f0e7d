"""Records an endless episode with a camera and the policy's calls beside it, until it is killed; run by
system/test_kill_beside.py.

    python record_beside.py FOLDER

Prints "step N" when a step was handed over and "frame N" when a frame was given out. Frame n is all of grey `grey(n)`
and was taken at n seconds / 50; call n was asked about an image of grey n % 256.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from toys import SPEC, ToyPolicy

from vlasteer.recording import CameraRecorder, DatasetWriter, read_episodes
from vlasteer.recording.calls import ActivationChoice, CallTap
from vlasteer.types import EpisodeInfo, EpisodeKey, Observation, Outcome, StepRecord

RATE = 50


def grey(frame: int) -> int:
    """Grey level of a camera's frame."""
    return 20 + (frame * 37) % 200


@dataclass(frozen=True)
class Frame:
    image: np.ndarray
    time_s: float
    arrived_s: float


class Camera:
    """A new frame every 1/50 s."""

    def __init__(self) -> None:
        self.started, self.last = time.monotonic(), -1

    def frame(self) -> Frame:
        number = int((time.monotonic() - self.started) * RATE)
        if number != self.last:
            self.last = number
            say(f"frame {number}")
        image = np.full((96, 128, 3), grey(number), np.uint8)
        return Frame(image, number / RATE, number / RATE + 0.001)


_saying = threading.Lock()


def say(line: str) -> None:
    """Print from any thread, whole lines."""
    with _saying:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def main(root: Path) -> None:
    """Record until killed."""
    policy = ToyPolicy()
    writer = DatasetWriter(root)
    with CallTap(policy, activations=ActivationChoice(policy.anatomy.sites, "all"), images=True) as tap:
        recorder = writer.recorder([tap.recorder(), CameraRecorder("wrist", Camera(), rate_hz=100)])
        recorder.open(EpisodeInfo(len(read_episodes(root)), EpisodeKey(0, 0, 0), "go", "arm", "toy", SPEC))
        step = 0
        while True:
            seen = Observation({"image": np.full((8, 8, 3), step % 256, np.uint8)}, "go", np.zeros(3), step / 20)
            action = tap.policy.act(seen).actions[0]
            recorder.step(StepRecord(step, seen, step, 0, action, action, action, {}, 0.0, 0, Outcome.RUNNING))
            say(f"step {step}")
            step += 1
            time.sleep(0.01)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
