"""The twin with physics: the real client grasps a cube of the tabletop scene, and the cameras see it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from twin_client import run_client, say

from vlasteer.envs.tabletop.gripper import TCP_OFFSET
from vlasteer.errors import InputError
from vlasteer.launch.twin import TABLETOP_PLANT, table_layout
from vlasteer.robots.twin import TwinProcess

pytestmark = pytest.mark.slow

SEED = 3


def grasp(host: str, x: float, y: float) -> dict[str, Any]:
    import socket
    import time

    import rtde_control
    import rtde_receive

    control, receive = rtde_control.RTDEControlInterface(host), rtde_receive.RTDEReceiveInterface(host)
    gripper = socket.create_connection((host, 63352))

    def ask(line: str) -> str:
        gripper.sendall(line.encode() + b"\n")
        return gripper.recv(100).decode().strip()

    ask("SET ACT 1")
    time.sleep(1.0)
    down = [3.141592653589793, 0.0, 0.0]  # tool down, fingers opening along y
    results: dict[str, Any] = {"moves": []}
    for z in (0.15, 0.02):
        results["moves"].append(control.moveL([x, y, z, *down], 0.25, 0.8))
    results["error"] = [a - b for a, b in zip(receive.getActualTCPPose(), receive.getTargetTCPPose(), strict=True)]
    ask("SET POS 255 SPE 200 FOR 200 GTO 1")
    for _ in range(200):
        time.sleep(0.02)
        results["object"] = ask("GET OBJ")
        if results["object"] != "OBJ 0":
            break
    say("grasped")
    results["position"] = int(ask("GET POS").split()[1])
    results["moves"].append(control.moveL([x, y, 0.25, *down], 0.25, 0.8))
    results["object_after"] = ask("GET OBJ")
    results["safety"] = receive.getSafetyMode()
    return results


def test_the_client_lifts_a_cube_that_the_cameras_see() -> None:
    layout = table_layout(SEED)
    x, y = (-layout.objects[0, :2]).tolist()  # the arm's base looks the other way than the world
    with TwinProcess(plant=TABLETOP_PLANT, tcp=(0, 0, TCP_OFFSET, 0, 0, 0)) as twin:
        twin.call("arrange", seed=SEED)
        assert twin.call("cameras") == ["image", "image2"]
        before, taken = _picture(twin)
        again, later = _picture(twin)
        assert before.shape == (224, 224, 3)
        assert later > taken
        assert _changed(before, again) < 0.001  # nothing moves yet
        seen = run_client(grasp, twin.host, x, y, timeout_s=60.0)
        after, _ = _picture(twin)
        wrist, _ = _picture(twin, "image2")
    assert seen["moves"] == [True] * 3
    assert seen["safety"] == 1
    assert np.abs(seen["error"][:3]).max() < 0.002  # a servo's error, not a table's
    assert seen["object"] == seen["object_after"] == "OBJ 2"
    assert 100 < seen["position"] < 150  # a cube of 4 cm between fingers of 8 cm stroke
    assert _changed(before, after) > 0.02
    assert wrist.std() > 10


def test_the_same_seed_arranges_the_same_scene() -> None:
    with TwinProcess(plant=TABLETOP_PLANT) as twin:
        pictures = []
        for seed in (1, 2, 1):
            twin.call("arrange", seed=seed)
            pictures.append(_picture(twin)[0])
    assert _changed(pictures[0], pictures[2]) < 0.001
    assert _changed(pictures[0], pictures[1]) > 0.01


def _picture(twin: TwinProcess, camera: str = "image") -> tuple[NDArray[np.uint8], float]:
    try:
        return twin.hooks.camera(camera)
    except InputError as error:
        if "off-screen" not in str(error):
            raise
        pytest.skip(f"no off-screen rendering here: {error}")


def _changed(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> float:
    """Fraction of the pixels that look different."""
    return float((np.abs(after.astype(int) - before.astype(int)).max(axis=2) > 40).mean())
