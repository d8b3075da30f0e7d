"""What the tabletop costs per control step, by cameras and resolution: python launch/bench/tabletop.py [--rounds 6].

Arms are interleaved in one run, with an A/A arm that shows the noise. The expert carries a cube; resets are left out.
The processor's seconds stand beside those of the clock: on a shared machine they are the steadier, and with software
rendering they count the renderer's threads. For "on one core" run it under `taskset -c 0`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

import numpy as np

from vlasteer.envs import tabletop
from vlasteer.envs.tabletop.scene import CAMERAS
from vlasteer.envs.tabletop.world import TabletopWorld
from vlasteer.types import EpisodeKey, Outcome

ARMS: dict[str, tuple[int, tuple[str, ...]]] = {
    "no pictures": (64, ()),
    "no pictures again (A/A)": (64, ()),
    **{
        f"{size} px, {len(names)} camera(s)": (size, names)
        for size in (64, 96, 224)
        for names in (CAMERAS[:1], CAMERAS)
    },
}
EPISODES_PER_ROUND = 4


def main() -> int:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    worlds = {
        name: tabletop.make("tabletop_transport", resolution=size, cameras=cameras or CAMERAS)
        for name, (size, cameras) in ARMS.items()
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ARMS}
    random = np.random.default_rng(0)
    for number in range(-1, options.rounds):
        for name in random.permutation(list(ARMS)).tolist():
            taken = list(_steps(worlds[name], number + 1, look=bool(ARMS[name][1])))
            if number >= 0:  # the first round makes contexts and fills caches
                seconds[name] += taken
    print(f"{'arm':<26}{'wall ms':>9}{'CPU ms':>9}{'steps per CPU second':>22}{'n':>7}")
    for name, values in seconds.items():
        wall, processor = np.mean(values, axis=0).tolist()
        print(f"{name:<26}{wall * 1e3:>9.2f}{processor * 1e3:>9.2f}{1 / processor:>22.0f}{len(values):>7}")
    return 0


def _steps(world: TabletopWorld, number: int, *, look: bool) -> Iterator[tuple[float, float]]:
    """Wall and processor seconds of every step of some episodes: acting, and observing what there is to see."""
    for start in range(EPISODES_PER_ROUND):
        world.reset(EpisodeKey(start % len(world.tasks), start, number))
        world.observe()
        while world.outcome is Outcome.RUNNING:
            action = world.expert()
            wall, processor = time.perf_counter(), time.process_time()
            world.act(action, look=look)
            world.observe()
            yield time.perf_counter() - wall, time.process_time() - processor


if __name__ == "__main__":
    sys.exit(main())
