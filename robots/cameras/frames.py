"""A camera that always has its newest picture ready: a thread grabs, `frame` never waits for the device."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import VlasteerError, WorldError

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Frame:
    """One picture. Times are of the monotonic clock.

    Attributes:
        image: uint8 [height, width, 3], RGB; to be treated as read-only.
        time_s: when it was taken, as near as the device says it.
        arrived_s: when this process had it.
        number: 0-based count of the camera's pictures.
    """

    image: Image
    time_s: float
    arrived_s: float
    number: int

    @property
    def latency_s(self) -> float:
        """From being taken to being here: exposure, transfer, decoding."""
        return self.arrived_s - self.time_s


@runtime_checkable
class Camera(Protocol):
    """A camera.

    Attributes:
        name: what the policy calls it.
    """

    name: str

    @property
    def age_s(self) -> float:
        """Time since the newest picture was taken; infinite before the first. Never blocks, never raises."""
        ...

    def frame(self) -> Frame:
        """The newest picture.

        Raises:
            WorldError: there is none, or it is stale.
        """
        ...

    def close(self) -> None:
        """Let go of the device. Idempotent."""
        ...


class Source(Protocol):
    """A device as the grab thread sees it."""

    def grab(self) -> tuple[Image, float]:
        """Wait for the next picture, RGB, and say when it was taken (monotonic clock, s).

        Raises:
            WorldError: there will be no more.
        """
        ...

    def close(self) -> None:
        """Let go of the device; called from the thread that grabs."""
        ...


class GrabbedCamera:
    """A `Camera` around a source, which is opened, read and closed by the grab thread alone.

    Args:
        name: what the policy calls it.
        open_source: opens the device; may take its time and may raise.
        max_age_s: frames that were taken longer ago are refused.
        shape: what is done to every picture, e.g. `pictures.shaper(config)`.
    """

    def __init__(
        self,
        name: str,
        open_source: Callable[[], Source],
        *,
        max_age_s: float = 0.2,
        shape: Callable[[Image], Image] = lambda image: image,
    ) -> None:
        self.name, self.max_age_s = name, max_age_s
        self._open, self._shape = open_source, shape
        self._news, self._ended = threading.Condition(), threading.Event()
        self._newest: Frame | None = None
        self._error: VlasteerError | None = None
        self._thread = threading.Thread(target=self._run, name=f"camera {name}", daemon=True)
        self._thread.start()

    @property
    def age_s(self) -> float:
        """Time since the newest picture was taken; infinite before the first."""
        newest = self._newest
        return math.inf if newest is None else time.monotonic() - newest.time_s

    def frame(self) -> Frame:
        """The newest picture.

        Raises:
            WorldError: there is none yet, it is older than `max_age_s`, or the device failed (then its error).
        """
        newest, error = self._newest, self._error
        if newest is not None and time.monotonic() - newest.time_s <= self.max_age_s:
            return newest
        if error is not None:
            raise WorldError(f"camera '{self.name}': {error.problem}", expected=error.expected, fix=error.fix)
        if newest is None:
            raise WorldError(f"camera '{self.name}' has given no picture yet")
        raise WorldError(
            f"the newest picture of camera '{self.name}' is {time.monotonic() - newest.time_s:.2f} s old",
            expected=f"at most {self.max_age_s:g} s (max_age_s)",
            fix="Check its cable and its frame rate",
        )

    def wait_ready(self, timeout_s: float = 10.0) -> Frame:
        """The first picture, as soon as there is one.

        Raises:
            WorldError: none came in that time.
            VlasteerError: the device cannot be opened.
        """
        with self._news:
            self._news.wait_for(lambda: self._newest is not None or self._error is not None, timeout_s)
        if self._newest is not None:
            return self._newest
        if self._error is not None:
            raise self._error
        raise WorldError(f"camera '{self.name}' gave no picture in {timeout_s:g} s", fix="Check its device and cable")

    def close(self) -> None:
        """End the thread and let go of the device. Idempotent."""
        self._ended.set()
        self._thread.join(_CLOSING_S)

    def _run(self) -> None:
        source, number = None, 0
        try:
            source = self._open()
            while not self._ended.is_set():
                image, taken = source.grab()
                image = np.ascontiguousarray(self._shape(image))
                with self._news:
                    self._newest = Frame(image, taken, time.monotonic(), number)
                    self._news.notify_all()
                number += 1
        except VlasteerError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - drivers raise anything; whoever asks for a frame is told
            self._fail(WorldError(f"it failed ({type(error).__name__}: {error})", fix="Check its cable and its driver"))
        finally:
            if source is not None:
                source.close()

    def _fail(self, error: VlasteerError) -> None:
        with self._news:
            self._error = error
            self._news.notify_all()


_CLOSING_S = 3.0  # a device that hangs is left to its daemon thread
