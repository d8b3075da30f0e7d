"""openpi's own client from the package index against `vlasteer serve`; see launch/openpi-client-env."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from server_process import server_process

from vlasteer.registry import load_policy
from vlasteer.steering import Feature, Steering, steer
from vlasteer.steering.packs import parse_neuron
from vlasteer.types import Observation

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("openpi_session.py")
NEURONS = {"openvla-tiny": ["0:16", "0:69"], "pi0-tiny": ["0:5", "expert:0:1"], "pi0fast-tiny": ["0:3", "1:4"]}
TOKEN = "0123456789abcdef"


@pytest.fixture(scope="module")
def openpi_python() -> str:
    python = os.environ.get("VLASTEER_OPENPI_PYTHON")
    if not python:
        pytest.skip("VLASTEER_OPENPI_PYTHON is not set: build the environment with launch/openpi-client-env")
    return python


@pytest.mark.parametrize("checkpoint", NEURONS)
def test_a_session_with_a_steering_change_between_two_requests(openpi_python, shared, tmp_path, checkpoint) -> None:
    pack = tmp_path / "pack.json"
    neurons = [n if n.count(":") == 2 else f"vlm:{n}" for n in NEURONS[checkpoint]]
    pack.write_text(json.dumps({"format": "vlasteer-feature-pack/1", "features": {"fast": neurons}}))
    options = {"unnorm_key": "libero_10"} if checkpoint == "openvla-tiny" else {}
    folder = shared / "fixtures" / checkpoint
    policy = load_policy(folder, device="cpu", self_test=False, **options)
    generator = np.random.default_rng(0)
    frames = {name: generator.integers(0, 256, (224, 224, 3), dtype=np.uint8) for name in ("image", "wrist_image")}
    state = generator.uniform(-0.5, 0.5, max(policy.state_size, 1))
    np.savez(tmp_path / "seen.npz", **frames, state=state)
    (tmp_path / "token").write_text(TOKEN)
    flags = [part for key, value in options.items() for part in (f"--{key.replace('_', '-')}", value)]
    with server_process(
        "--policy", folder, *flags, "--device", "cpu", "--pack", pack, "--token-file", tmp_path / "token",
        log=tmp_path / "log.txt",
    ) as server:  # fmt: skip
        done = subprocess.run(
            [openpi_python, str(SCRIPT), server.url, TOKEN, str(tmp_path / "seen.npz")],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr + (tmp_path / "log.txt").read_text()
    session = json.loads(done.stdout)

    images = dict(zip(policy.cameras, frames.values(), strict=False))
    seen = Observation(images, "pick up the black bowl", state if policy.state_size else None)
    plain = policy.act(seen)
    feature = Feature.of("fast", [parse_neuron(neuron, policy.anatomy) for neuron in neurons])
    with steer(policy, Steering.of(feature, 10.0)):
        steered = policy.act(seen)
    assert session["metadata"] == checkpoint
    np.testing.assert_allclose(session["plain"]["actions"], plain.actions, atol=1e-6)
    np.testing.assert_allclose(session["steered"]["actions"], steered.actions, atol=1e-6)
    assert session["steered"]["token_ids"] == steered.token_ids.tolist()
    assert session["steered"]["non_action_tokens"] == steered.non_action_tokens
    assert session["steered"]["actions"] != session["plain"]["actions"] == session["again"]["actions"]
    assert [session[turn]["steering"] for turn in ("plain", "steered", "again")] == [
        {"fast": None}, {"fast": 10.0}, {"fast": None}
    ]  # fmt: skip
    assert "unknown feature 'fsat'" in session["refused"]
    assert session["again"]["timing"]["infer_ms"] > 0
