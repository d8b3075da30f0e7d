"""A client's message as an observation, coefficients and noise.

Every message comes from outside: whatever is wrong with it is an `InputError` that says what would have been right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import InputError, ObservationError, SteeringError, UnknownNameError
from vlasteer.policies.remote.messages import ServerInfo
from vlasteer.steering.value import check_coefficient
from vlasteer.types import Observation

CAMERA_KEYS = (
    ("observation/image", "observation/exterior_image_1_left", "base_rgb"),
    ("observation/wrist_image", "observation/wrist_image_left", "wrist_rgb"),
)
"""openpi's keys for the policy's first camera and for its second: LIBERO, DROID, UR5."""
STATE_KEYS = ("state", "observation/state")
STATE_PARTS = (("observation/joint_position", "observation/gripper_position"), ("joints", "gripper"))
"""openpi's keys for a state in two parts, joints before gripper: DROID, UR5."""
INSTRUCTION_KEYS = ("instruction", "prompt")
MAX_INSTRUCTION = 4096

_OWN_IMAGES = "images/"
_KEYS = frozenset(
    {"time_s", "noise", "steering", *STATE_KEYS, *INSTRUCTION_KEYS}
    | {key for keys in (*CAMERA_KEYS, *STATE_PARTS) for key in keys}
)


@dataclass(frozen=True)
class Request:
    """What a client asks.

    Attributes:
        observation: to be answered.
        knobs: coefficient of every mounted feature (None: off).
        noise: float32 for policies that sample, or None.
    """

    observation: Observation
    knobs: Mapping[str, float | None]
    noise: NDArray[np.float32] | None = None


def read_request(message: Mapping[str, Any], info: ServerInfo, default_time_s: float = 0.0) -> Request:
    """A message, in vlasteer's keys or in openpi's.

    Further keys below `observation/` and `images/` are cameras and the like that this policy does not read. Any other
    is refused: a misspelt `steering` would steer nothing, unnoticed.

    Args:
        message: as the codec gives it.
        info: of this server.
        default_time_s: `Observation.time_s` where the message has none, as openpi's have not. Policies that sample draw
            their noise from it.

    Raises:
        ObservationError: something that the policy needs is missing or unusable.
        SteeringError: a coefficient that is no number or out of bounds.
        InputError: a feature that is not mounted, or an unknown key.
    """
    for key in message:
        if key not in _KEYS and not key.startswith(("observation/", _OWN_IMAGES)):
            raise UnknownNameError.among("key", key[:80], sorted(_KEYS | {f"images/{c}" for c in info.cameras}))
    observation = Observation(
        images=_images(message, info.cameras),
        instruction=_instruction(message),
        state=_state(message, info.state_size),
        time_s=_number(message.get("time_s", default_time_s), "time_s"),
    )
    return Request(observation, _knobs(message.get("steering"), info), _noise(message.get("noise")))


# -- images ------------------------------------------------------------------------------------------------------------
def _images(message: Mapping[str, Any], cameras: tuple[str, ...]) -> dict[str, NDArray[np.uint8]]:
    images = {}
    for place, camera in enumerate(cameras):
        keys = (_OWN_IMAGES + camera, *(CAMERA_KEYS[place] if place < len(CAMERA_KEYS) else ()))
        key = _only(message, keys)
        if key is None:
            raise ObservationError(f"no image for camera '{camera}'", expected=f"one of the keys {', '.join(keys)}")
        images[camera] = _image(message[key], key)
    return images


def _image(value: object, key: str) -> NDArray[np.uint8]:
    """As openpi's servers read one: colours first or last, uint8 or floats from 0 to 1."""
    if not isinstance(value, np.ndarray) or value.ndim != 3 or 3 not in (value.shape[0], value.shape[2]):
        raise ObservationError(f"'{key}' is {_describe(value)}", expected="an array [height, width, 3]")
    if value.shape[2] != 3:
        value = value.transpose(1, 2, 0)
    if value.size == 0:
        raise ObservationError(f"'{key}' is {_describe(value)}", expected="at least one pixel")
    if np.issubdtype(value.dtype, np.floating):
        if not (np.all(value >= 0) and np.all(value <= 1)):  # NaN is neither
            raise ObservationError(f"'{key}' has floats outside of [0, 1]", expected="uint8, or floats from 0 to 1")
        value = (255 * value).astype(np.uint8)
    if value.dtype != np.uint8:
        raise ObservationError(f"'{key}' is {_describe(value)}", expected="uint8, or floats from 0 to 1")
    return np.ascontiguousarray(value)


# -- words and numbers -------------------------------------------------------------------------------------------------
def _instruction(message: Mapping[str, Any]) -> str:
    key = _only(message, INSTRUCTION_KEYS)
    text = message[key] if key is not None else None
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="replace")
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_INSTRUCTION:
        raise ObservationError(
            "the message has no usable instruction",
            expected=f"the task in words, at most {MAX_INSTRUCTION} characters, as 'prompt' or 'instruction'",
        )
    return text


def _state(message: Mapping[str, Any], size: int) -> NDArray[np.float64] | None:
    key = _only(message, (*STATE_KEYS, *(part for part, _ in STATE_PARTS)))
    if key is None:
        if size:
            parts = ", ".join(" with ".join(pair) for pair in STATE_PARTS)
            raise ObservationError(
                "the message has no state", expected=f"{size} numbers as {', '.join(STATE_KEYS)}, or as {parts}"
            )
        return None
    state = _vector(message[key], key)
    if further := dict(STATE_PARTS).get(key):
        state = np.concatenate([state, _vector(message.get(further), further)])
    if size and len(state) != size:
        raise ObservationError(f"the state has {len(state)} numbers", expected=str(size))
    return state


def _vector(value: object, key: str) -> NDArray[np.float64]:
    try:
        array = np.atleast_1d(np.asarray(value))
    except ValueError:  # lists of unequal lengths
        array = np.asarray(None)
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        raise ObservationError(f"'{key}' is {_describe(value)}", expected="a vector of numbers")
    return array.astype(np.float64)


def _noise(value: object) -> NDArray[np.float32] | None:
    if value is None:
        return None
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or not np.all(np.isfinite(value)):
        raise ObservationError(f"'noise' is {_describe(value)}", expected="an array of finite floats")
    return value.astype(np.float32)


def _number(value: object, what: str) -> float:
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        raise InputError(f"'{what}' is {_describe(value)}", expected="a number")
    number = float(value)
    if not np.isfinite(number):
        raise InputError(f"'{what}' is {number}", expected="a finite number")
    return number


# -- steering ----------------------------------------------------------------------------------------------------------
def _knobs(value: object, info: ServerInfo) -> dict[str, float | None]:
    """Coefficients of all mounted features; those that are not named keep the server's defaults."""
    knobs = {term.name: term.factor for term in info.steering}
    if value is None:
        return knobs
    if not isinstance(value, dict):
        raise SteeringError(f"'steering' is {_describe(value)}", expected="a map from feature to number or null")
    for name, coefficient in value.items():
        if name not in knobs:
            raise UnknownNameError.among("feature", str(name)[:80], knobs)
        knobs[name] = None if coefficient is None else _coefficient(coefficient, name, info.max_coefficient)
    return knobs


def _coefficient(value: object, name: str, bound: float) -> float:
    coefficient = check_coefficient(_number(value, f"steering of '{name}"))
    if abs(coefficient) > bound:
        raise SteeringError(
            f"coefficient {coefficient:g} of '{name}'", expected=f"a number from {-bound:g} to {bound:g}"
        )
    return coefficient


def _only(message: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    given = [key for key in keys if key in message]
    if len(given) > 1:
        raise ObservationError(f"the message has {' and '.join(given)}", expected="one of them: they mean the same")
    return given[0] if given else None


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    return "missing" if value is None else f"a {type(value).__name__}"
