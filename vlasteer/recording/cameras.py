"""Cameras at their own rate, beside the dataset, whose frames have to follow its control steps.

    cameras/wrist/episode-000012.mp4        every frame at the time at which it was taken
    cameras/wrist/episode-000012.parquet    a row per frame: taken_s, arrived_s, dropped_before

Times are those of the camera (`time.monotonic()`), as is `world.time_s` of a robot. While the episode is open both
files are logs in its journal, which `kill -9` leaves readable: see `video` and `tables`.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import InputError, OutputError, UnknownNameError, WorldError
from vlasteer.recording.layout import Column
from vlasteer.recording.tables import RowLog, read_log, read_table, write_table
from vlasteer.recording.video import FrameLog, count_frames, read_all_frames, seal_timed_video, to_frame
from vlasteer.types import EpisodeInfo, StepRecord

FOLDER = "cameras"
_VIDEO, _TIMES = "frames.h264", "frames.arrow"
_COLUMNS = (Column("taken_s", "float64"), Column("arrived_s", "float64"), Column("dropped_before", "int64"))


class TimedImage(Protocol):
    """What a camera gives.

    Attributes:
        image: uint8 [height, width, 3] RGB; nobody writes to it any more.
        time_s: when it was taken, `time.monotonic()`.
        arrived_s: when it was there, the same clock.
    """

    @property
    def image(self) -> NDArray[np.uint8]: ...
    @property
    def time_s(self) -> float: ...
    @property
    def arrived_s(self) -> float: ...


class FrameSource(Protocol):
    """Any camera."""

    def frame(self) -> TimedImage:
        """The newest frame; from any thread. Raises WorldError when there is none that is fresh."""
        ...


class CameraRecorder:
    """Records one camera while an episode is open; a `vlasteer.recording.recorder.Companion`.

    A thread looks for new frames, another one encodes them. Between them is a queue of limited length: when encoding
    does not keep up, frames are dropped and counted, and whoever controls the robot never waits.

    Args:
        name: of the camera; becomes a folder's name.
        camera: what takes the pictures.
        rate_hz: highest rate that the camera can have; frames are looked for twice as often.
        waiting: how many frames may wait to be encoded.
        lossless: keep every pixel; several times larger.

    Attributes:
        written: frames that are on disk, of the newest episode.
        dropped: frames that came while the queue was full or had another size than the first, of the newest episode.

    Raises:
        OutputError: a name that cannot be a folder's.
    """

    def __init__(
        self, name: str, camera: FrameSource, *, rate_hz: float = 60.0, waiting: int = 16, lossless: bool = False
    ) -> None:
        if not name or name in (".", "..") or "/" in name:
            raise OutputError(f"a camera named '{name}'", expected="a name that a folder can have")
        self.place = f"{FOLDER}/{name}"
        self.written = self.dropped = 0
        self._camera, self._rate_hz, self._waiting, self._lossless = camera, rate_hz, waiting, lossless
        self._threads: list[threading.Thread] = []
        self._failure: Exception | None = None

    def open(self, episode: EpisodeInfo) -> None:
        """Nothing is recorded before the first step."""

    def begin(self, folder: Path) -> None:
        """Record into `folder` from now on."""
        self.written = self.dropped = 0
        self._failure = None
        self._over = threading.Event()
        self._queue: queue.Queue[tuple[TimedImage, int] | None] = queue.Queue(self._waiting)
        self._threads = [
            threading.Thread(target=self._look, name=f"{self.place} looking", daemon=True),
            threading.Thread(target=self._encode, args=(folder,), name=f"{self.place} encoding", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def step(self, record: StepRecord) -> None:
        """Steps are the dataset's business."""

    def end(self) -> None:
        """Stop; everything that was taken is on disk afterwards.

        Raises:
            OutputError: the disk refused frames, or the camera failed.
        """
        if not self._threads:
            return
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._threads = []
        if self._failure is not None:
            raise OutputError(f"{self.place} could not be recorded: {self._failure}") from self._failure

    def _look(self) -> None:
        last, dropped = float("-inf"), 0
        try:
            while not self._over.wait(0.5 / self._rate_hz):
                try:
                    frame = self._camera.frame()
                except WorldError:
                    continue  # a camera that is stale at the moment; the gap shows in the times
                if frame.time_s <= last:
                    continue
                last = frame.time_s
                try:
                    self._queue.put_nowait((frame, dropped))
                    dropped = 0
                except queue.Full:
                    dropped += 1
                    self.dropped += 1
        except Exception as error:  # noqa: BLE001 - drivers raise anything; `end` tells it
            self._failure = error
        finally:
            self._queue.put(None)

    def _encode(self, folder: Path) -> None:
        log: _FrameFiles | None = None
        try:
            while (item := self._queue.get()) is not None:
                frame, dropped = item
                if log is None:
                    log = _FrameFiles(folder, frame.image.shape[:2], self._rate_hz, self._lossless)
                if log.append(frame, dropped):
                    self.written += 1
                else:
                    self.dropped += 1
        except Exception as error:  # noqa: BLE001 - disk or encoder, whatever it is: the looking thread must not wait
            self._failure = error
            while self._queue.get() is not None:
                self.dropped += 1
        finally:
            if log is not None:
                log.close()


class _FrameFiles:
    """The two logs of a camera; a frame counts as recorded when its row is whole."""

    def __init__(self, folder: Path, size: tuple[int, ...], rate_hz: float, lossless: bool) -> None:
        self._size, self._refused = size, 0
        height, width = size
        self._video = FrameLog(folder / _VIDEO, height=height, width=width, rate_hz=rate_hz, lossless=lossless)
        self._rows = RowLog(folder / _TIMES, _COLUMNS)

    def append(self, frame: TimedImage, dropped: int) -> bool:
        """False: of another size than the first one, and left out."""
        if frame.image.shape[:2] != self._size:
            self._refused += 1 + dropped
            return False
        self._video.append(to_frame(frame.image))
        row = {"taken_s": frame.time_s, "arrived_s": frame.arrived_s, "dropped_before": dropped + self._refused}
        self._refused = 0
        self._rows.append(self._rows.batch(row))
        return True

    def close(self) -> None:
        self._video.close()
        self._rows.close()


def seal_cameras(journal: Path, root: Path, episode: int) -> None:
    """Move the cameras of an episode's journal to their places; what is there already is replaced."""
    for folder in sorted(path for path in (journal / FOLDER).glob("*") if path.is_dir()):
        rows = read_log(folder / _TIMES) if (folder / _TIMES).exists() else None
        frames = min(count_frames(folder / _VIDEO), rows.num_rows) if rows is not None else 0
        if rows is None or frames == 0:
            continue
        rows = rows.slice(0, frames)
        video, times = _places(root, folder.name, episode)
        seal_timed_video(folder / _VIDEO, video, rows["taken_s"].to_pylist())
        write_table(times, rows)


class CameraFrame(NamedTuple):
    """One frame of a camera that was recorded at its own rate.

    Attributes:
        image: uint8 [height, width, 3] RGB.
        taken_s, arrived_s: `time.monotonic()` of the recording machine.
        dropped_before: how many frames before it were lost because encoding did not keep up.
    """

    image: NDArray[np.uint8]
    taken_s: float
    arrived_s: float
    dropped_before: int


def camera_names(root: Path | str) -> list[str]:
    """Cameras of a run that were recorded at their own rate."""
    return sorted(path.name for path in (Path(root) / FOLDER).glob("*") if path.is_dir())


def camera_times(root: Path | str, episode: int, camera: str) -> Any:
    """Arrow table of a camera's frames: taken_s, arrived_s, dropped_before.

    Raises:
        UnknownNameError: no such camera.
        InputError: it saw nothing of that episode.
    """
    if camera not in (names := camera_names(root)):
        raise UnknownNameError.among("camera", camera, names)
    _, times = _places(Path(root), camera, episode)
    if not times.exists():
        raise InputError(f"{root} has no frames of camera '{camera}' in episode {episode}")
    return read_table([times])


def camera_frames(root: Path | str, episode: int, camera: str) -> Iterator[CameraFrame]:
    """A camera's frames with their times. Raises as `camera_times`."""
    rows = camera_times(root, episode, camera).to_pylist()
    video, _ = _places(Path(root), camera, episode)
    for row, image in zip(rows, read_all_frames(video), strict=True):
        yield CameraFrame(image, **row)


def _places(root: Path, camera: str, episode: int) -> tuple[Path, Path]:
    folder = root / FOLDER / camera
    return folder / f"episode-{episode:06d}.mp4", folder / f"episode-{episode:06d}.parquet"
