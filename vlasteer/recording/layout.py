"""The columns of a dataset: which there are, of what type, and how one step fills them.

LeRobot takes every column whose name begins with "observation" or "action" for an input or output of the policy that
is to be trained (`dataset_to_policy_features`). Only what a policy could really see or do is therefore named so; what
is recorded for analysis and replay has names of its own (without the word "image", which makes LeRobot expect
statistics of pictures), in float64 where LeRobot's convention is float32, because a replay has to be exact.

    observation.state, observation.images.<camera>, action (executed)      LeRobot's, float32 and video
    timestamp, frame_index, episode_index, index, task_index               LeRobot's
    next.done, next.success, next.outcome                                  after the action
    step                                                                   the controller's own count
    world.time_s, world.state                                              the world's clock and state, exact
    policy.action, commanded.action, executed.action                       policy's convention, world's, what was done
    policy.chunk, policy.chunk_step, policy.inference_s, policy.tokens, policy.non_action_tokens
    steered, steering.<feature>                                            any feature on; its coefficient, NaN: off
    looked.<camera>                                                     false: the video repeats the last frame
    extra.<name>                                                           what a world or controller adds, NaN: absent
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import ObservationError, OutputError
from vlasteer.types import ActionKind, ActionSpec, EpisodeInfo, Gripper, Outcome, StepRecord

IMAGES = "observation.images."
SEALED = ("episode_index", "index", "task_index")
"""Columns that are filled when the episode gets its place in the dataset."""

_OFF = float("nan")


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: as in the Parquet file.
        dtype: LeRobot's word: float32, float64, int64, bool, string, video.
        shape: of one row's value; (1,) is stored as a scalar, as LeRobot does.
        names: of the last axis' entries, where they have any.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = (1,)
    names: tuple[str, ...] | None = None

    @property
    def statistics(self) -> bool:
        """Whether LeRobot's tools may ask for statistics of it. They would make little sense of NaN for "off"."""
        standard = ("timestamp", "frame_index", *SEALED, "next.done", "next.success", "action")
        return self.name in standard or self.name.startswith("observation.")


@dataclass(frozen=True)
class Layout:
    """What all episodes of a dataset have in common.

    Attributes:
        action_spec: convention of `action`; its rate is the dataset's frame rate.
        policy_size: length of the policy's own actions.
        state_names: one per state dimension; empty when there is no state.
        cameras: camera name -> (height, width).
        features: the knobs, sorted.
        extras: names of `StepRecord.extra`, sorted.
        lossless: whether the videos keep every pixel.
    """

    action_spec: ActionSpec
    policy_size: int
    state_names: tuple[str, ...]
    cameras: Mapping[str, tuple[int, int]]
    features: tuple[str, ...]
    extras: tuple[str, ...]
    lossless: bool = False

    @classmethod
    def of(
        cls,
        episode: EpisodeInfo,
        first: StepRecord,
        state_names: tuple[str, ...],
        lossless: bool,
        extras: Iterable[str] = (),
    ) -> Layout:
        """Layout that an episode needs, read off its first step. Later steps may lack images, the first may not.

        `extras` are recorded besides those of the first step: what only some steps have.
        """
        state = first.observation.state
        size = 0 if state is None else len(state)
        names = state_names or tuple(f"state_{i}" for i in range(size))
        if len(names) != size:
            raise OutputError(
                f"{len(names)} state names for a state of {size} values", expected="one name per value, or no names"
            )
        extras = sorted({*first.extra, *extras})
        for name in (*first.observation.images, *episode.feature_names, *extras):
            if "/" in name:
                raise OutputError(f"the name '{name}' contains '/'", expected="names that LeRobot takes for columns")
        return cls(
            action_spec=episode.action_spec,
            policy_size=len(first.action_policy),
            state_names=names,
            cameras={name: image.shape[:2] for name, image in first.observation.images.items()},
            features=tuple(episode.feature_names),
            extras=tuple(extras),
            lossless=lossless,
        )

    @property
    def frames_per_second(self) -> int | float:
        """Frame rate, an int wherever it is one: LeRobot and rerun expect that."""
        rate = self.action_spec.rate_hz
        return int(rate) if float(rate).is_integer() else rate

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """All columns, in the order of the file."""
        size, names = (self.action_spec.size,), self.action_spec.names
        state = (len(self.state_names),)
        return (
            *([Column("observation.state", "float32", state, self.state_names)] if self.state_names else []),
            *(
                Column(IMAGES + camera, "video", (*shape, 3), ("height", "width", "channels"))
                for camera, shape in self.cameras.items()
            ),
            Column("action", "float32", size, names),
            Column("timestamp", "float32"),
            Column("frame_index", "int64"),
            Column("episode_index", "int64"),
            Column("index", "int64"),
            Column("task_index", "int64"),
            Column("next.done", "bool"),
            Column("next.success", "bool"),
            Column("next.outcome", "string"),
            Column("step", "int64"),
            Column("world.time_s", "float64"),
            *([Column("world.state", "float64", state, self.state_names)] if self.state_names else []),
            Column("policy.action", "float64", (self.policy_size,)),
            Column("commanded.action", "float64", size, names),
            Column("executed.action", "float64", size, names),
            Column("policy.chunk", "int64"),
            Column("policy.chunk_step", "int64"),
            Column("policy.inference_s", "float64"),
            Column("policy.tokens", "int64"),
            Column("policy.non_action_tokens", "int64"),
            Column("steered", "bool"),
            *(Column(f"steering.{name}", "float64") for name in self.features),
            *(Column(f"looked.{camera}", "bool") for camera in self.cameras),
            *(Column(f"extra.{name}", "float64") for name in self.extras),
        )

    @cached_property
    def stored_columns(self) -> tuple[Column, ...]:
        """The columns of the Parquet file: all but the videos."""
        return tuple(column for column in self.columns if column.dtype != "video")

    def row(self, record: StepRecord, frame_index: int) -> dict[str, Any]:
        """Values of one step, by column; `task` (the instruction) in the place of the `SEALED` ones.

        Raises:
            OutputError: the step does not fit the dataset.
        """
        seen = record.observation
        self._refuse_unknown("feature", record.applied, self.features)
        self._refuse_unknown("recorded quantity", record.extra, self.extras)
        steering = {name: record.applied.get(name) for name in self.features}
        values: dict[str, Any] = {
            "task": seen.instruction,
            "action": record.executed,
            "timestamp": frame_index / self.action_spec.rate_hz,
            "frame_index": frame_index,
            "next.done": record.outcome is not Outcome.RUNNING,
            "next.success": record.outcome is Outcome.SUCCESS,
            "next.outcome": str(record.outcome),
            "step": record.step,
            "world.time_s": seen.time_s,
            "policy.action": record.action_policy,
            "commanded.action": record.action,
            "executed.action": record.executed,
            "policy.chunk": record.chunk,
            "policy.chunk_step": record.chunk_step,
            "policy.inference_s": record.inference_s,
            "policy.tokens": record.tokens,
            "policy.non_action_tokens": record.non_action_tokens,
            "steered": any(value is not None for value in steering.values()),
        }
        if self.state_names:
            values["observation.state"] = values["world.state"] = seen.state
        values |= {f"steering.{name}": _OFF if value is None else value for name, value in steering.items()}
        values |= {f"looked.{camera}": camera in seen.images for camera in self.cameras}
        values |= {f"extra.{name}": float(record.extra.get(name, _OFF)) for name in self.extras}
        for column in self.stored_columns:
            if column.names is not None or column.name == "policy.action":
                values[column.name] = _vector(column, values[column.name], record.step)
        return values

    def check_images(self, images: Mapping[str, NDArray[np.uint8]], *, first: bool) -> None:
        """Refuse images that the dataset has no video for, and a first step that lacks one.

        Raises:
            ObservationError: naming the camera.
        """
        for camera, image in images.items():
            expected = self.cameras.get(camera)
            if expected != image.shape[:2]:
                wanted = (
                    f"{expected[0]} x {expected[1]}" if expected else f"one of: {', '.join(self.cameras) or '(none)'}"
                )
                raise ObservationError(
                    f"camera '{camera}' gave {image.shape[0]} x {image.shape[1]} pixels, which this recording lacks",
                    expected=f"{wanted}, as in its first step",
                )
        if first and (missing := [camera for camera in self.cameras if camera not in images]):
            raise ObservationError(
                f"the first step of an episode has no image of camera '{missing[0]}'",
                expected="an image of every camera, since later steps may only repeat what was seen",
            )

    def differences(self, other: Layout) -> list[str]:
        """What differs, in words; empty when an episode of `other` fits into a dataset of this one.

        It may lack extras: they are NaN then.
        """
        if set(other.extras) <= set(self.extras):
            other = replace(other, extras=self.extras)
        mine, theirs = self.as_json(), other.as_json()
        return [f"{key}: {mine[key]} there, {theirs[key]} here" for key in mine if mine[key] != theirs[key]]

    def as_json(self) -> dict[str, Any]:
        """JSON types, for info.json and the journal."""
        spec = self.action_spec
        return {
            "kind": str(spec.kind),
            "gripper": str(spec.gripper),
            "scale": list(spec.scale),
            "rate_hz": spec.rate_hz,
            "action_names": list(spec.names),
            "policy_size": self.policy_size,
            "state_names": list(self.state_names),
            "cameras": {camera: list(shape) for camera, shape in self.cameras.items()},
            "features": list(self.features),
            "extras": list(self.extras),
            "lossless": self.lossless,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Layout:
        """Inverse of `as_json`."""
        return cls(
            action_spec=ActionSpec(
                kind=ActionKind(value["kind"]),
                gripper=Gripper(value["gripper"]),
                scale=tuple(value["scale"]),
                rate_hz=value["rate_hz"],
                names=tuple(value["action_names"]),
            ),
            policy_size=value["policy_size"],
            state_names=tuple(value["state_names"]),
            cameras={camera: (shape[0], shape[1]) for camera, shape in value["cameras"].items()},
            features=tuple(value["features"]),
            extras=tuple(value["extras"]),
            lossless=value["lossless"],
        )

    @staticmethod
    def _refuse_unknown(kind: str, given: Mapping[str, object], known: tuple[str, ...]) -> None:
        unknown = [name for name in given if name not in known]
        if unknown:
            raise OutputError(
                f"the {kind} '{unknown[0]}' has no column in this recording",
                expected=f"one of: {', '.join(known) or '(none)'}, as in its first step",
                fix="Record it from the first step on, declare it when the recording is opened, or use a new folder",
            )


def _vector(column: Column, value: NDArray[np.float64] | None, step: int) -> NDArray[Any]:
    found = None if value is None else np.asarray(value).shape
    if value is None or found != column.shape:
        raise OutputError(
            f"step {step} has a '{column.name}' of shape {found}", expected=f"{column.shape}, as in the first step"
        )
    return np.asarray(value, dtype=column.dtype)
