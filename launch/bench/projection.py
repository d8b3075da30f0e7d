"""What projecting value vectors costs: python launch/bench/projection.py [--hidden 2048 --vocabulary 257152] [--fold].

Random value vectors of one layer are projected on a random vocabulary by several arms, interleaved in one run: full
tables of scores in float32, a batch of vectors at a time, and again (the A/A arm, which shows the noise); the same in
the storage dtype, which is what one would try to save time; and `vlasteer.topk`. Beside the time stand the memory that
an arm needs above what it started from, and the share of vectors whose top tokens come in exact order. The processor's
seconds are steadier than those of the clock on a shared machine. A first round warms up and is not counted.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from vlasteer.topk import ExactTopK

BATCH = 512


class Measured(NamedTuple):
    """Of one run of an arm: seconds by the clock and of the processor, bytes above the start."""

    wall: float
    processor: float
    memory: float


def main() -> int:
    """Measure and print one table."""
    import torch

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hidden", type=int, default=4096)
    parser.add_argument("--vectors", type=int, default=11008)
    parser.add_argument("--vocabulary", type=int, default=32064)
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16", help="of storage")
    parser.add_argument("--fold", action="store_true", help="fold a norm's gain into the vectors")
    parser.add_argument("--top-k", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    # Numbers of a bfloat16 checkpoint, however they are stored.
    matrix, weight = (
        (torch.randn(shape) * 0.02).bfloat16().to(getattr(torch, options.dtype))
        for shape in ((options.vocabulary, options.hidden), (options.hidden, options.vectors))
    )
    gain = torch.rand(options.hidden) + 0.5 if options.fold else None
    arms = make_arms(matrix, weight.T, gain, options.top_k)
    measured, ids = interleaved(arms, options.rounds)
    print(
        f"{options.vectors} vectors x {options.hidden}, {options.vocabulary} tokens, {options.dtype}, "
        f"top {options.top_k}, {options.threads} thread(s)"
    )
    report(measured, ids, 2 * matrix.numel() * options.vectors)
    return 0


def make_arms(matrix: Tensor, vectors: Tensor, gain: Tensor | None, top_k: int) -> dict[str, Callable[[], Tensor]]:
    """Arms by name: each returns int [vectors, top_k] ids."""
    import torch

    from vlasteer.topk import ExactTopK

    def full_table(dtype: torch.dtype) -> Tensor:
        found = []
        for first in range(0, len(vectors), BATCH):
            block = vectors[first : first + BATCH].to(dtype)
            block = block if gain is None else block * gain.to(dtype)
            found.append((block @ matrix.to(dtype).T).topk(top_k, dim=1).indices)
        return torch.cat(found).int()

    def exact() -> Tensor:
        ranking: ExactTopK = ExactTopK(matrix, k=top_k, gain=gain)
        ids, _ = ranking(vectors)
        if ranking.rescanned:
            print(f"{ranking.rescanned} vectors had to be rescanned", file=sys.stderr)
        return ids

    arms: dict[str, Callable[[], Tensor]] = {
        "full table, float32": lambda: full_table(torch.float32),
        "full table, float32, again (A/A)": lambda: full_table(torch.float32),
    }
    if matrix.dtype is not torch.float32:
        arms["full table, storage dtype"] = lambda: full_table(matrix.dtype)
    return arms | {"vlasteer.topk": exact}


def interleaved(
    arms: dict[str, Callable[[], Tensor]], rounds: int
) -> tuple[dict[str, list[Measured]], dict[str, Tensor]]:
    """Measurements and ids of every arm; the order of the arms is shuffled in every round."""
    measured: dict[str, list[Measured]] = {name: [] for name in arms}
    ids: dict[str, Tensor] = {}
    random = np.random.default_rng(0)
    for round_ in range(rounds + 1):
        for name in random.permutation(list(arms)).tolist():
            base = peak_memory(reset=True)
            wall, processor = time.perf_counter(), time.process_time()
            ids[name] = arms[name]()
            taken = time.perf_counter() - wall, time.process_time() - processor
            if round_:
                measured[name].append(Measured(*taken, peak_memory() - base))
    return measured, ids


def peak_memory(*, reset: bool = False) -> float:
    """Largest resident size of this process since the last reset, in bytes; NaN elsewhere than on Linux."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    if reset:
        ctypes.CDLL(None).malloc_trim(0)  # what another arm freed would hide what this one needs
        Path("/proc/self/clear_refs").write_text("5")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return float(line.split()[1]) * 1024


def report(measured: dict[str, list[Measured]], ids: dict[str, Tensor], operations: int) -> None:
    """The table: medians with their range, ratios to the first arm, memory, exactness."""
    header = f"{'arm':<34}{'wall s (range)':>22}{'ratio':>8}{'CPU s':>9}{'ratio':>8}{'GFLOP/s':>9}{'memory MB':>11}"
    print(f"{header}{'exact order':>13}")
    base = np.median(next(iter(measured.values())), axis=0)
    exact = ids["vlasteer.topk"]
    for name, runs in measured.items():
        wall, processor, _ = np.median(runs, axis=0)
        walls = [run.wall for run in runs]
        spread = f"{wall:.2f} ({min(walls):.2f}-{max(walls):.2f})"
        same = float((ids[name] == exact).all(1).float().mean())
        memory = max(run.memory for run in runs) / 1e6
        print(
            f"{name:<34}{spread:>22}{wall / base[0]:>8.3f}{processor:>9.2f}{processor / base[1]:>8.3f}"
            f"{operations / processor / 1e9:>9.0f}{memory:>11.1f}{same:>13.1%}"
        )


if __name__ == "__main__":
    sys.exit(main())
