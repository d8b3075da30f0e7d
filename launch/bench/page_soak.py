"""Memory of a page that is left open: python launch/bench/page_soak.py [--minutes 30].

A loop without a policy tells the page of a moving arm, two cameras and turning knobs at 20 Hz, and a Chromium without
a screen shows it. Once a minute: memory of this process, of the browser's processes, and of the tab's JavaScript after
a garbage collection. Wants chromium, chromedriver and selenium.
"""

from __future__ import annotations

import argparse
import math
import resource
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from vlasteer.kinematics import UR5E, matrix_pose
from vlasteer.knobs import Knob, KnobBoard
from vlasteer.launch.page import Page
from vlasteer.live import LivePhase, LiveStatus
from vlasteer.types import Observation, Outcome, Phase, RobotStatus, StepRecord

RATE_HZ = 20.0
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--window-size=1400,900",
)
_ELBOW_UP = np.array([0.0, -1.74, 2.04, -1.87, -1.57, 0.0])
_MB = 1e6


def main() -> int:
    """Soak and print one table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two rows")
    options = parser.parse_args()
    board = KnobBoard([Knob.feature("fast", 8.0), Knob.feature("high", 4.0), Knob.speed()])
    over = threading.Event()
    with (
        Page(board, world_name="soak", cameras=("front", "wrist"), knobs=board.knobs, rate_hz=RATE_HZ, port=0) as page,
        tempfile.TemporaryDirectory() as profile,
    ):
        loop = threading.Thread(target=tell, args=(page, board, over))
        loop.start()
        try:
            soak(page.url, profile, options.minutes * 60.0, options.every)
        finally:
            over.set()
            loop.join()
    return 0


def tell(page: Page, board: KnobBoard, over: threading.Event) -> None:
    """What a live loop would tell."""
    random, source = np.random.default_rng(0), board.source("soak", live=False)
    pictures = random.integers(0, 256, (8, 2, 224, 224, 3), dtype=np.uint8)
    step, last = 0, np.zeros(3)
    while not over.wait(1.0 / RATE_HZ):
        t = step / RATE_HZ
        source.set("fast", 8.0 * math.sin(t / 5))
        joints = _ELBOW_UP + 0.3 * np.sin(t / np.arange(2, 8))
        pose = matrix_pose(UR5E.forward(joints))
        speed, last = float(np.linalg.norm(pose[:3] - last)) * RATE_HZ, pose[:3]
        images = {name: pictures[step // 2 % 8, i] for i, name in enumerate(("front", "wrist"))}
        seen = Observation(images, "go round and round", pose, t)
        action = np.sin(t / np.arange(1, 8))
        record = StepRecord(step, seen, step // 10, step % 10, action, action, action, {}, 0.0, 0, Outcome.RUNNING)
        ages = {"front": 0.03, "wrist": 0.05}
        robot = RobotStatus(
            Phase.RUNNING, "normal", "", False, 0.004, 500.0, 0.12, joints, pose, speed, 0.5, camera_ages_s=ages
        )
        page.tick(
            LiveStatus(
                step=step,
                phase=LivePhase.RUNNING,
                rate_hz=RATE_HZ,
                inference_s=0.08,
                chunk_age_s=0.2,
                underruns=0,
                rejected=0,
                reading=board.read(),
                robot=robot,
                record=record,
                observation=seen,
                outcome=Outcome.RUNNING,
                chunk=step // 10,
                knob_latency_s=0.15,
                changes=(),
                note="",
            )
        )
        step += 1


def soak(url: str, profile: str, seconds: float, every: float) -> None:
    """Show the page and print a row every so many seconds."""
    driver = _chromium(profile)
    try:
        driver.get(url)
        driver.execute_cdp_cmd("Performance.enable", {})
        print("minute  server MB  browser MB  JS heap MB  DOM nodes", flush=True)
        begun, shown = time.monotonic(), 0.0
        while shown < seconds:
            time.sleep(every)
            shown = time.monotonic() - begun
            driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
            found = driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
            metrics = {metric["name"]: metric["value"] for metric in found}
            root = driver.service.process.pid
            row = (shown / 60, _memory("self") / _MB, sum(map(_memory, _children(root))) / _MB)
            heap, nodes = metrics["JSHeapUsedSize"] / _MB, metrics["Nodes"]
            print("{:6.1f}  {:9.1f}  {:10.1f}".format(*row) + f"  {heap:10.1f}  {nodes:9.0f}", flush=True)
    finally:
        driver.quit()


def _chromium(profile: str) -> Any:
    from selenium import webdriver

    paths = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(paths):
        sys.exit("no Chromium: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = paths[0] or ""
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(paths[1]))


def _memory(pid: int | str) -> int:
    """Resident bytes of a process; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def _children(pid: int) -> list[int]:
    """A process and all below it."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            below.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        found.append(queue.pop())
        queue += below.get(found[-1], [])
    return found


if __name__ == "__main__":
    sys.exit(main())
