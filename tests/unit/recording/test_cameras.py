"""Cameras at their own rate: every frame with its times, and nobody ever waits for the disk."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import pytest

from vlasteer.errors import InputError, OutputError, UnknownNameError, WorldError
from vlasteer.recording import CameraRecorder, DatasetWriter, camera_frames, read_episodes
from vlasteer.recording.cameras import camera_names, camera_times
from vlasteer.types import Outcome


@dataclass(frozen=True)
class Frame:
    image: np.ndarray
    time_s: float
    arrived_s: float


@dataclass
class Camera:
    """Shows grey levels one after the other: the next one when the last has been seen."""

    shape: tuple[int, int] = (32, 48)
    frames: int = 12
    index: int = -1
    stale: bool = False
    seen: threading.Event = field(default_factory=threading.Event)

    def frame(self) -> Frame:
        if self.stale:
            raise WorldError("nothing new")
        self.index = min(self.index + 1, self.frames - 1)
        if self.index == self.frames - 1:
            self.seen.set()
        # Not evenly spaced: every third frame is late.
        taken = 100.0 + self.index / 30 + (0.01 if self.index % 3 == 2 else 0.0)
        return Frame(np.full((*self.shape, 3), 20 + 5 * self.index, np.uint8), taken, taken + 0.002)


def recorded(root: Path, info, steps, *recorders: CameraRecorder, wait: Camera | None = None) -> DatasetWriter:
    writer = DatasetWriter(root)
    sink = writer.recorder(recorders)
    sink.open(info())
    for step in steps(3):
        sink.step(step)
    if wait is not None:
        assert wait.seen.wait(10)
    sink.close(Outcome.SUCCESS)
    return writer


def test_every_frame_comes_back_with_its_times(tmp_path, info, steps):
    camera = Camera()
    recorder = CameraRecorder("wrist", camera, rate_hz=200)
    recorded(tmp_path, info, steps, recorder, wait=camera)
    frames = list(camera_frames(tmp_path, 0, "wrist"))
    assert recorder.written == len(frames) == 12
    assert recorder.dropped == 0
    taken = [100.0 + k / 30 + (0.01 if k % 3 == 2 else 0.0) for k in range(12)]
    assert [frame.taken_s for frame in frames] == taken
    assert [frame.arrived_s for frame in frames] == [t + 0.002 for t in taken]
    assert [frame.dropped_before for frame in frames] == [0] * 12
    np.testing.assert_allclose([frame.image.mean() for frame in frames], [20 + 5 * k for k in range(12)], atol=3)
    assert camera_names(tmp_path) == ["wrist"]
    assert not list((tmp_path / "journal").iterdir())


def test_a_player_shows_the_frames_when_they_were_taken(tmp_path, info, steps):
    camera = Camera()
    recorded(tmp_path, info, steps, CameraRecorder("wrist", camera, rate_hz=200), wait=camera)
    with av.open(str(tmp_path / "cameras/wrist/episode-000000.mp4")) as video:
        shown = [frame.time for frame in video.decode(video=0)]
    taken = camera_times(tmp_path, 0, "wrist")["taken_s"].to_numpy()
    np.testing.assert_allclose(shown, taken - taken[0], atol=1e-4)


def test_frames_that_cannot_be_encoded_in_time_are_dropped_and_counted(tmp_path, info, steps, monkeypatch):
    camera, slow = Camera(frames=40), threading.Event()
    recorder = CameraRecorder("wrist", camera, rate_hz=500, waiting=2)
    import vlasteer.recording.cameras as cameras

    def delayed(image):
        slow.wait(5)  # until all frames have been shown
        return real(image)

    real = cameras.to_frame
    monkeypatch.setattr(cameras, "to_frame", delayed)
    writer = DatasetWriter(tmp_path)
    sink = writer.recorder([recorder])
    sink.open(info())
    for step in steps(3):
        sink.step(step)  # returns although the camera's encoder stands still
    assert camera.seen.wait(10)
    time.sleep(0.02)
    slow.set()
    sink.close(Outcome.SUCCESS)
    frames = list(camera_frames(tmp_path, 0, "wrist"))
    assert recorder.written == len(frames) <= 4
    assert recorder.dropped >= 36
    assert sum(frame.dropped_before for frame in frames) <= recorder.dropped
    assert read_episodes(tmp_path)[0]["length"] == 3


def test_a_camera_that_sees_nothing_leaves_nothing(tmp_path, info, steps):
    recorded(tmp_path, info, steps, CameraRecorder("wrist", Camera(stale=True), rate_hz=500))
    assert read_episodes(tmp_path)[0]["length"] == 3
    with pytest.raises(UnknownNameError, match="camera 'wrist'"):
        camera_times(tmp_path, 0, "wrist")


def test_frames_of_another_size_are_left_out_and_counted(tmp_path, info, steps):
    camera = Camera()
    camera_frame = camera.frame

    def frame() -> Frame:
        given = camera_frame()
        return Frame(given.image[:16] if camera.index == 3 else given.image, given.time_s, given.arrived_s)

    camera.frame = frame  # type: ignore[method-assign]
    recorder = CameraRecorder("wrist", camera, rate_hz=200)
    recorded(tmp_path, info, steps, recorder, wait=camera)
    frames = list(camera_frames(tmp_path, 0, "wrist"))
    assert (recorder.written, recorder.dropped) == (11, 1)
    assert [frame.dropped_before for frame in frames] == [0, 0, 0, 1, *[0] * 7]


def test_lossless_frames_are_exact(tmp_path, info, steps):
    camera = Camera()
    recorded(tmp_path, info, steps, CameraRecorder("wrist", camera, rate_hz=200, lossless=True), wait=camera)
    for k, frame in enumerate(camera_frames(tmp_path, 0, "wrist")):
        assert np.all(frame.image == 20 + 5 * k)


def test_a_full_disk_ends_the_video_and_keeps_the_episode(tmp_path, info, steps, monkeypatch):
    import vlasteer.recording.cameras as cameras

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cameras, "FrameLog", full)
    camera = Camera()
    writer = DatasetWriter(tmp_path)
    sink = writer.recorder([CameraRecorder("wrist", camera, rate_hz=200)])
    sink.open(info())
    for step in steps(3):
        sink.step(step)
    assert camera.seen.wait(10)
    with pytest.raises(OutputError, match="No space left"):
        sink.close(Outcome.SUCCESS)
    assert read_episodes(tmp_path)[0]["outcome"] == "success"


def test_a_camera_that_breaks_is_told_at_the_end(tmp_path, info, steps):
    camera = Camera()
    broken = threading.Event()

    def frame() -> Frame:
        broken.set()
        raise RuntimeError("unplugged")

    camera.frame = frame  # type: ignore[method-assign]
    writer = DatasetWriter(tmp_path)
    sink = writer.recorder([CameraRecorder("wrist", camera, rate_hz=200)])
    sink.open(info())
    for step in steps(3):
        sink.step(step)
    assert broken.wait(10)
    with pytest.raises(OutputError, match="unplugged"):
        sink.close(Outcome.SUCCESS)
    assert read_episodes(tmp_path)[0]["outcome"] == "success"


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_names_that_cannot_be_folders_are_refused(name):
    with pytest.raises(OutputError, match="name"):
        CameraRecorder(name, Camera())


def test_an_episode_that_it_saw_nothing_of_is_said(tmp_path, info, steps):
    camera = Camera()
    writer = recorded(tmp_path, info, steps, CameraRecorder("wrist", camera, rate_hz=200), wait=camera)
    sink = writer.recorder()
    sink.open(info(1))
    for step in steps(2):
        sink.step(step)
    sink.close(Outcome.SUCCESS)
    with pytest.raises(InputError, match="episode 1"):
        camera_times(tmp_path, 1, "wrist")


def test_a_crash_between_sealing_the_episode_and_its_cameras_is_made_good(tmp_path, info, steps, monkeypatch):
    import vlasteer.recording.dataset as dataset

    class CrashError(BaseException):
        pass

    def crash(*_: object) -> None:
        raise CrashError

    camera = Camera()
    with monkeypatch.context() as patch:
        patch.setattr(dataset, "seal_beside", crash)
        with pytest.raises(CrashError):
            recorded(tmp_path, info, steps, CameraRecorder("wrist", camera, rate_hz=200), wait=camera)
    assert len(read_episodes(tmp_path)) == 1
    DatasetWriter(tmp_path)
    assert len(list(camera_frames(tmp_path, 0, "wrist"))) == 12
    assert len(read_episodes(tmp_path)) == 1
    assert not list((tmp_path / "journal").iterdir())
