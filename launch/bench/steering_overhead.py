"""What steering costs per control step: python launch/bench/steering_overhead.py [--policy FOLDER] [--compiled].

Arms are interleaved in one run: unsteered, unsteered again (the A/A arm, which shows the noise), mounted but off,
steered, and steered with a coefficient that changes at every step. Without --policy a random OpenVLA of 12 layers x
768 is measured. The processor's seconds stand beside those of the clock: on a shared machine they are the steadier.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from vlasteer.policies.openvla.policy import OpenVLAPolicy
    from vlasteer.steering import Port, Steering
    from vlasteer.types import Observation

NEURONS_PER_LAYER = 8


class Seconds(NamedTuple):
    """Of one step: by the clock, and of the processor."""

    wall: float
    processor: float


def main() -> int:
    """Measure and print one table."""
    import torch

    from vlasteer.launch.bench.random_openvla import Size, write_checkpoint
    from vlasteer.policies.openvla import load

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--policy", type=Path)
    parser.add_argument("--unnorm-key")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compiled", action="store_true", help="compile the decoding passes of every arm")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.policy
        if folder is None:
            folder = Path(scratch) / "random"
            write_checkpoint(folder, Size(layers=12, hidden=768, width=2048, heads=12))
        policy = load(folder, str(folder), unnorm_key=options.unnorm_key)
        report(policy, interleaved(policy, options.rounds, compiled=options.compiled))
    return 0


def steering_of(policy: OpenVLAPolicy, coefficient: float | None) -> Steering:
    """Some neurons of every layer."""
    from vlasteer.anatomy import Neuron
    from vlasteer.steering import Feature, Steering

    neurons = [
        Neuron(*site.key, index)
        for site in policy.anatomy.sites
        for index in np.linspace(0, site.width - 1, NEURONS_PER_LAYER).astype(int).tolist()
    ]
    return Steering.of(Feature.of("f", neurons), coefficient)


def interleaved(policy: OpenVLAPolicy, rounds: int, *, compiled: bool) -> dict[str, list[Seconds]]:
    """Seconds of every step of every arm; the order of the arms is shuffled in every round."""
    from vlasteer.steering import Steering

    def turn(port: Port, round_: int) -> None:
        port.set("f", 2.0 + round_ % 5)

    def leave(port: Port, round_: int) -> None:
        pass

    arms: dict[str, tuple[Steering, Callable[[Port, int], None]]] = {
        "unsteered": (Steering(), leave),
        "unsteered again (A/A)": (Steering(), leave),
        "mounted, off": (steering_of(policy, None), leave),
        "steered": (steering_of(policy, 2.0), leave),
        "steered, turned every step": (steering_of(policy, 2.0), turn),
    }
    observation = policy.example()
    seconds: dict[str, list[Seconds]] = {name: [] for name in arms}
    random = np.random.default_rng(0)
    # Mounting anew for every block would measure compilation, so compiled arms run in longer blocks.
    block = max(rounds // 2, 1) if compiled else 4
    for _ in range(-(-rounds // block)):
        for name in random.permutation(list(arms)).tolist():
            seconds[name] += run_block(policy, *arms[name], observation, block, compiled=compiled)
    return seconds


def run_block(
    policy: OpenVLAPolicy,
    steering: Steering,
    prepare: Callable[[Port, int], None],
    observation: Observation,
    count: int,
    *,
    compiled: bool,
) -> list[Seconds]:
    """Seconds of `count` steps, the first ones after mounting left out."""
    from vlasteer.steering import steer

    taken = []
    with ExitStack() as stack:
        port = stack.enter_context(steer(policy, steering))
        if compiled:
            policy.compile()
        policy.act(observation)
        for i in range(count):
            prepare(port, i)
            wall, processor = time.perf_counter(), time.process_time()
            policy.act(observation)
            taken.append(Seconds(time.perf_counter() - wall, time.process_time() - processor))
    return taken


def report(policy: OpenVLAPolicy, seconds: dict[str, list[Seconds]]) -> None:
    """The table: medians with quartiles, and their ratios to the first arm."""
    sites = policy.anatomy.sites
    print(f"{len(sites)} layers x {sites[0].hidden}, d_ff {sites[0].width}, {NEURONS_PER_LAYER} neurons per layer")
    print(f"{'arm':<28}{'wall ms (quartiles)':>26}{'ratio':>8}{'CPU ms (quartiles)':>26}{'ratio':>8}{'n':>5}")
    base = np.median(next(iter(seconds.values())), axis=0)
    for name, values in seconds.items():
        quartiles = np.percentile(values, [25, 50, 75], axis=0)
        cells = [
            f"{f'{middle * 1e3:.1f} ({low * 1e3:.1f}-{high * 1e3:.1f})':>26}{middle / reference:>8.3f}"
            for (low, middle, high), reference in zip(quartiles.T.tolist(), base.tolist(), strict=True)
        ]
        print(f"{name:<28}{''.join(cells)}{len(values):>5}")


if __name__ == "__main__":
    sys.exit(main())
