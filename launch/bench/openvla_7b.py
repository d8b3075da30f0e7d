"""What loading and running a full-size OpenVLA costs: python launch/bench/openvla_7b.py FOLDER [--layers 32].

Writes a randomly initialised bfloat16 checkpoint of the real size (15 GB) into FOLDER, measures it on the CPU in a
process of its own, and deletes it. Memory is told in two parts: anonymous (the process's own) and file (pages of the
mapped weights, which the kernel may take back and read again).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

GB = 1e9
Result = TypeVar("Result")


def main() -> int:
    """Write, measure, delete."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="must not exist yet; needs 16 GB of disk")
    parser.add_argument("--layers", type=int, default=32, help="fewer than 32 for a quick try (small vision towers)")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.folder, options.dtype)))
        return 0
    from vlasteer.launch.bench.random_openvla import Size, write_checkpoint

    try:
        started = time.perf_counter()
        size = write_checkpoint(options.folder, Size(layers=options.layers))
        print(f"wrote {size / GB:.2f} GB of weights in {time.perf_counter() - started:.0f} s", flush=True)
        forget_pages(options.folder)
        command = [sys.executable, __file__, str(options.folder), "--dtype", options.dtype, "--measure"]
        answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if answer.returncode:
            return answer.returncode
        for name, value in json.loads(answer.stdout.splitlines()[-1]).items():
            print(f"{name:<44}{value:>12}")
    finally:
        shutil.rmtree(options.folder, ignore_errors=True)
    return 0


def forget_pages(folder: Path) -> None:
    """Take the files out of the page cache, so that loading begins cold."""
    for file in folder.glob("*.safetensors"):
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def measure(folder: Path, dtype: str) -> dict[str, str]:
    """Name -> value, all in one process."""
    import torch

    from vlasteer.policies.openvla import load
    from vlasteer.steering.selftest import self_test

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    found = {"threads": str(torch.get_num_threads())}
    with watched_memory() as peak:
        note(found, peak, "after imports")
        policy = timed(found, "load (s)", lambda: load(folder, "random", device="cpu", dtype=dtype))
        note(found, peak, "after load")
        timed(found, "checkpoint hash, cold (s)", lambda: policy.checkpoint_hash)
        note(found, peak, "after hash")
        timed(found, "self-test, 5 probes (s)", lambda: self_test(policy))
        observation = policy.example()
        chunk = timed(found, "first action (s)", lambda: policy.act(observation))
        timed(found, "second action (s)", lambda: policy.act(observation))
        found["prompt positions"] = str(256 + len(policy.tokenizer.encode(observation.instruction, 7)))
        found["ids"] = " ".join(str(i) for i in chunk.token_ids)
        note(found, peak, "at the end")
    found["peak anonymous memory (GB)"] = f"{peak['RssAnon'] / GB:.2f}"
    found["peak file pages resident (GB)"] = f"{peak['RssFile'] / GB:.2f}"
    found["peak resident set (GB)"] = f"{peak['VmHWM'] / GB:.2f}"
    return found


def timed(found: dict[str, str], name: str, work: Callable[[], Result]) -> Result:
    """Run and note the seconds."""
    started = time.perf_counter()
    result = work()
    found[name] = f"{time.perf_counter() - started:.2f}"
    return result


def note(found: dict[str, str], peak: dict[str, float], when: str) -> None:
    """Memory now."""
    now = memory()
    for name, value in now.items():
        peak[name] = max(peak[name], value)
    found[f"memory {when}: anonymous + file (GB)"] = f"{now['RssAnon'] / GB:.2f} + {now['RssFile'] / GB:.2f}"


def memory() -> dict[str, float]:
    """Bytes of this process, from the kernel."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {
        words[0][:-1]: 1024 * float(words[1]) for words in lines if words[0][:-1] in ("RssAnon", "RssFile", "VmHWM")
    }


@contextmanager
def watched_memory() -> Iterator[dict[str, float]]:
    """The largest values seen, sampled every 50 ms; VmHWM is the kernel's own and exact."""
    peak, done = memory(), threading.Event()

    def sample() -> None:
        while not done.wait(0.05):
            for name, value in memory().items():
                peak[name] = max(peak[name], value)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
