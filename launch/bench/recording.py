"""What recording costs as a data set grows: python launch/bench/recording.py [--episodes 400] [--steps 40].

One process appends episodes with two cameras of 224 x 224, as a long study does. A row every fifty episodes: resident
memory, the clock's milliseconds per `step()` and per sealing of an episode (medians), and the folder's size. What grows
with the number of episodes shows in the rows; a second writer that opens the full folder is the last row.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from vlasteer.recording import DatasetWriter
from vlasteer.types import EE_NAMES, ActionKind, ActionSpec, EpisodeInfo, EpisodeKey, Gripper, Observation, Outcome
from vlasteer.types import StepRecord as Step

SPEC = ActionSpec(ActionKind.EE_DELTA, Gripper.MINUS_OPEN_PLUS_CLOSED, (1.0,) * 6, 20.0, EE_NAMES)
ROW = 50


def main() -> int:
    """Record and print one table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--episodes", type=int, default=400)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'episodes':>8}{'resident MB':>13}{'step ms':>9}{'sealing ms':>12}{'folder MB':>11}")
        writer = DatasetWriter(Path(folder))
        stepping: list[float] = []
        sealing: list[float] = []
        for episode in range(options.episodes):
            stepped, sealed = append(writer, episode, options.steps)
            stepping += stepped
            sealing.append(sealed)
            if (episode + 1) % ROW == 0:
                row(folder, episode + 1, stepping, sealing)
                stepping, sealing = [], []
        stepped, sealed = append(DatasetWriter(Path(folder)), options.episodes, options.steps)
        row(folder, options.episodes + 1, stepped, [sealed])
    return 0


def append(writer: DatasetWriter, episode: int, steps: int) -> tuple[list[float], float]:
    """Record one episode; seconds of every `step()`, and of sealing it."""
    random = np.random.default_rng(episode)
    scene = random.integers(0, 256, (7, 7, 3), np.uint8).repeat(32, 0).repeat(32, 1)
    recorder = writer.recorder()
    task = f"task {episode % 10}"
    recorder.open(EpisodeInfo(episode, EpisodeKey(episode % 10, episode, 0), task, "steered", "w", SPEC, ("fast",)))
    seconds = []
    for step in range(steps):
        images = {name: np.roll(scene, step * speed, axis=1) for name, speed in (("image", 2), ("image2", 5))}
        seen = Observation(images, task, random.normal(size=8), step / 20)
        action = random.normal(size=7)
        outcome = Outcome.SUCCESS if step == steps - 1 else Outcome.RUNNING
        record = Step(step, seen, step, 0, action, action, action, {"fast": 2.0}, 0.02, 0, outcome)
        time.sleep(0.005)  # encoding is beside the loop, which has other things to do
        begun = time.perf_counter()
        recorder.step(record)
        seconds.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    recorder.close(Outcome.SUCCESS)
    return seconds, time.perf_counter() - begun


def row(folder: str, episodes: int, stepping: list[float], sealing: list[float]) -> None:
    """Print one."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6
    stepped, sealed = (1e3 * float(np.median(values)) for values in (stepping, sealing))
    print(f"{episodes:>8}{resident:>13.1f}{stepped:>9.2f}{sealed:>12.1f}{size:>11.1f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
