"""Messages as requests: vlasteer's keys and openpi's, and an error for each way to be wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import info

from vlasteer.errors import InputError
from vlasteer.launch.serving.requests import read_request
from vlasteer.policies.remote.messages import request_document
from vlasteer.types import Observation

INFO = info()
MAIN, WRIST = (np.random.default_rng(i).integers(0, 256, (6, 8, 3), dtype=np.uint8) for i in range(2))
OWN = {"images/image": MAIN, "images/image2": WRIST, "instruction": "go", "state": np.arange(3.0)}
LIBERO = {
    "observation/image": MAIN, "observation/wrist_image": WRIST, "observation/state": np.arange(3.0), "prompt": "go"
}  # fmt: skip
DROID = {
    "observation/exterior_image_1_left": MAIN, "observation/wrist_image_left": WRIST, "prompt": b"go",
    "observation/joint_position": np.arange(2.0), "observation/gripper_position": np.array([2.0]),
}  # fmt: skip
UR5 = {"base_rgb": MAIN, "wrist_rgb": WRIST, "joints": [0, 1], "gripper": np.float32(2), "prompt": "go"}


@pytest.mark.parametrize("message", [OWN, LIBERO, DROID, UR5], ids=["own", "libero", "droid", "ur5"])
def test_every_set_of_keys_is_the_same_observation(message) -> None:
    seen = read_request(message, INFO).observation
    np.testing.assert_array_equal(seen.images["image"], MAIN)
    np.testing.assert_array_equal(seen.images["image2"], WRIST)
    np.testing.assert_array_equal(seen.state, [0, 1, 2])
    assert seen.instruction == "go"


def test_the_clients_request_is_the_servers() -> None:
    seen = Observation({"image": MAIN, "image2": WRIST}, "go", np.arange(3.0), 1.5)
    noise = np.ones((2, 3), np.float32)
    request = read_request(request_document(seen, {"fast": 3.0, "up": None}, noise), INFO)
    assert request.knobs == {"fast": 3.0, "up": None}
    assert request.observation.time_s == 1.5
    np.testing.assert_array_equal(request.noise, noise)
    np.testing.assert_array_equal(request.observation.state, seen.state)


def test_images_are_read_as_openpis_servers_read_them() -> None:
    floats = (MAIN / 255).astype(np.float32)
    for image in (MAIN.transpose(2, 0, 1), floats, floats.transpose(2, 0, 1)):
        seen = read_request({**OWN, "images/image": image}, INFO).observation.images["image"]
        assert np.abs(seen.astype(int) - MAIN).max() <= 1  # openpi truncates
        assert seen.flags.c_contiguous


def test_a_request_that_says_nothing_of_steering_gets_the_servers() -> None:
    assert read_request(OWN, INFO).knobs == {"fast": None, "up": 2.0}
    assert read_request({**OWN, "steering": {}}, INFO).knobs == {"fast": None, "up": 2.0}
    assert read_request({**OWN, "steering": {"up": None, "fast": 8}}, INFO).knobs == {"fast": 8.0, "up": None}
    assert read_request({**OWN, "steering": {"fast": np.float32(0.5)}}, INFO).knobs["fast"] == 0.5


def test_time_is_the_messages_or_the_servers() -> None:
    assert read_request(OWN, INFO, 7.0).observation.time_s == 7.0
    assert read_request({**OWN, "time_s": 3}, INFO, 7.0).observation.time_s == 3.0


def test_cameras_that_the_policy_does_not_read_are_ignored() -> None:
    read_request({**OWN, "images/third": 1, "observation/exterior_image_2_left": None}, INFO)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steerng": {"fast": 1}}, "unknown key 'steerng'.*Did you mean 'steering'"),
        ({"images/image": None}, "'images/image' is missing"),
        ({"images/image": MAIN[0]}, r"uint8 \[8, 3\].*height, width, 3"),
        ({"images/image": MAIN[:0]}, "at least one pixel"),
        ({"images/image": MAIN.astype(np.int32)}, "int32"),
        ({"images/image": MAIN * 1.0}, r"floats outside of \[0, 1\]"),
        ({"images/image": np.full((4, 4, 3), np.nan)}, r"floats outside of \[0, 1\]"),
        ({"observation/image": MAIN}, "images/image and observation/image.*one of them"),
        ({"instruction": ""}, "no usable instruction"),
        ({"instruction": 3}, "no usable instruction"),
        ({"instruction": "x" * 5000}, "at most 4096"),
        ({"prompt": "go"}, "instruction and prompt"),
        ({"state": np.zeros(4)}, "4 numbers.*Expected 3"),
        ({"state": np.zeros((1, 3))}, "vector"),
        ({"state": "abc"}, "vector"),
        ({"state": [[1], [2, 3]]}, "vector"),
        ({"state": np.array([0, np.nan, 0])}, "NaN"),
        ({"joints": [1.0]}, "state and joints"),
        ({"time_s": "now"}, "'time_s' is a str"),
        ({"time_s": float("inf")}, "finite"),
        ({"noise": [1.0]}, "'noise' is a list"),
        ({"noise": np.array([np.inf])}, "finite"),
        ({"steering": [1]}, "map from feature"),
        ({"steering": {"fsat": 1}}, "unknown feature 'fsat'.*fast, up.*Did you mean 'fast'"),
        ({"steering": {"fast": "8"}}, "a number"),
        ({"steering": {"fast": True}}, "a number"),
        ({"steering": {"fast": float("nan")}}, "finite"),
        ({"steering": {"fast": 100.5}}, "from -100 to 100"),
        ({"steering": {"fast": -1e30}}, "from -100 to 100"),
    ],
    ids=str,
)
def test_a_wrong_message_is_told_what_is_wrong(change, said) -> None:
    with pytest.raises(InputError, match=said):
        read_request({**OWN, **change}, INFO)


@pytest.mark.parametrize("key", ["images/image2", "instruction", "state"])
def test_what_is_missing_is_named(key) -> None:
    with pytest.raises(InputError, match=key.removeprefix("images/")):
        read_request({name: value for name, value in OWN.items() if name != key}, INFO)


def test_half_a_state_is_refused() -> None:
    with pytest.raises(InputError, match="'gripper' is missing"):
        read_request({name: value for name, value in UR5.items() if name != "gripper"}, INFO)


anything: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.just(MAIN)
    | st.just(np.zeros(3)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["fast", "up", "x"]), inner),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from([*OWN, *LIBERO, *DROID, *UR5, "steering", "time_s", "noise", "other"]), anything)
)
def test_whatever_a_message_holds_it_is_read_or_refused(change) -> None:
    try:
        request = read_request({**OWN, **change}, INFO)
    except InputError:
        return
    assert set(request.knobs) == {"fast", "up"}
    assert all(value is None or abs(value) <= 100 for value in request.knobs.values())
    assert np.isfinite(request.observation.state).all()
