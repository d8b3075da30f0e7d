"""Cameras: the grab thread, staleness, turning and cropping, video files, UVC through a capture that is none."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vlasteer.errors import ConfigError, MissingDependencyError, WorldError
from vlasteer.robots.cameras import Camera, CameraConfig, GrabbedCamera, open_camera, open_cameras
from vlasteer.robots.cameras import devices as devices_module
from vlasteer.robots.cameras.pictures import shaper


class Source:
    """Gives a picture whenever it is told to; its value counts."""

    def __init__(self, lag_s: float = 0.0) -> None:
        self.lag_s, self.count, self.closed = lag_s, 0, False
        self.due, self.broken = threading.Semaphore(1), False

    def grab(self):
        assert self.due.acquire(timeout=5.0)
        if self.broken:
            raise WorldError("it came off", fix="Plug it in")
        self.count += 1
        return np.full((4, 6, 3), self.count, np.uint8), time.monotonic() - self.lag_s

    def close(self) -> None:
        self.closed = True


def test_the_newest_picture_with_its_times() -> None:
    source = Source(lag_s=0.05)
    camera = GrabbedCamera("image", lambda: source, max_age_s=1.0)
    assert isinstance(camera, Camera)
    first = camera.wait_ready()
    assert first.latency_s == pytest.approx(0.05, abs=0.04)
    assert (first.number, int(first.image[0, 0, 0])) == (0, 1)
    for _ in range(3):
        source.due.release()
    while camera.frame().number < 3:
        time.sleep(0.001)
    assert int(camera.frame().image[0, 0, 0]) == 4
    assert camera.age_s < 1.0
    source.due.release()
    camera.close()
    camera.close()
    assert source.closed


def test_a_stale_picture_is_refused() -> None:
    source = Source()
    camera = GrabbedCamera("wrist", lambda: source, max_age_s=0.03)
    camera.wait_ready()
    time.sleep(0.05)
    with pytest.raises(WorldError, match=r"camera 'wrist' is 0.* s old"):
        camera.frame()
    assert camera.age_s > 0.03
    source.due.release()
    camera.close()


def test_a_camera_that_breaks_says_why_once_its_last_picture_is_stale() -> None:
    source = Source()
    camera = GrabbedCamera("image", lambda: source, max_age_s=0.03)
    camera.wait_ready()
    source.broken = True
    source.due.release()
    time.sleep(0.05)
    with pytest.raises(WorldError, match=r"it came off.*Plug it in"):
        camera.frame()
    camera.close()
    assert source.closed


def test_a_driver_may_raise_anything() -> None:
    def explode():
        raise RuntimeError("ioctl")

    camera = GrabbedCamera("image", explode)
    with pytest.raises(WorldError, match="RuntimeError: ioctl"):
        camera.wait_ready()
    with pytest.raises(WorldError, match="ioctl"):
        camera.frame()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[0, 1, 2], [3, 4, 5]]),
        ({"rotate_deg": 90}, [[3, 0], [4, 1], [5, 2]]),
        ({"rotate_deg": 180}, [[5, 4, 3], [2, 1, 0]]),
        ({"rotate_deg": 270}, [[2, 5], [1, 4], [0, 3]]),
        ({"flip_horizontal": True}, [[2, 1, 0], [5, 4, 3]]),
        ({"flip_vertical": True}, [[3, 4, 5], [0, 1, 2]]),
        ({"crop": (1, 0, 2, 1)}, [[1, 2]]),
        ({"rotate_deg": 90, "crop": (1, 2, 1, 1)}, [[2]]),
    ],
)
def test_turned_flipped_cropped(options, expected) -> None:
    image = np.repeat(np.arange(6, dtype=np.uint8).reshape(2, 3, 1), 3, axis=2)
    assert shaper(CameraConfig(kind="twin", **options))(image)[..., 0].tolist() == expected


def test_a_crop_outside_the_picture_is_an_error() -> None:
    source = Source()
    camera = GrabbedCamera("image", lambda: source, shape=shaper(CameraConfig(kind="twin", crop=(4, 0, 4, 2))))
    with pytest.raises(ConfigError, match="6 x 4 pixels"):
        camera.wait_ready()
    camera.close()


# --- video files ------------------------------------------------------------------------------------------------------


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Five pictures at 50 Hz, ever redder."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed: pip install 'vlasteer[cameras]'")
    path = tmp_path / "five.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 50.0, (64, 48))
    for i in range(5):
        picture = np.zeros((48, 64, 3), np.uint8)
        picture[..., 2] = 40 + 40 * i  # OpenCV writes BGR
        writer.write(picture)
    writer.release()
    return path


def test_a_video_is_a_camera_in_rgb(video: Path) -> None:
    with open_cameras({"image": CameraConfig(kind="video", device=str(video))}) as cameras:
        frame = cameras["image"].frame()
        assert frame.image.shape == (48, 64, 3)
        assert frame.image[..., 0].mean() > 30
        assert frame.image[..., 1:].mean() < 10
        seen = 0
        while seen < 12:  # it begins again
            seen = cameras["image"].frame().number


def test_a_video_that_ends_goes_stale(video: Path) -> None:
    camera = open_camera("image", CameraConfig(kind="video", device=str(video), loop=False, max_age_s=0.02))
    camera.wait_ready()
    time.sleep(0.2)
    with pytest.raises(WorldError, match="has ended"):
        camera.frame()
    camera.close()


def test_no_such_video(tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed: pip install 'vlasteer[cameras]'")
    camera = open_camera("image", CameraConfig(kind="video", device=str(tmp_path / "none.mp4")))
    with pytest.raises(ConfigError, match="no video"):
        camera.wait_ready()


# --- UVC --------------------------------------------------------------------------------------------------------------


class Capture:
    """What OpenCV gives for a camera."""

    size, stamp_lag_s, opened = (48, 64), 0.01, True

    def __init__(self, device) -> None:
        self.device, self.settings, self.released = device, {}, False

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return self.opened

    def set(self, key, value) -> None:
        self.settings[key] = value

    def get(self, _key) -> float:
        return 1e3 * (time.monotonic() - self.stamp_lag_s)

    def read(self):
        time.sleep(0.005)
        picture = np.zeros((*self.size, 3), np.uint8)
        picture[..., 0] = 200  # blue first
        return True, picture

    def release(self) -> None:
        self.released = True


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[Capture]:
    made: list[Capture] = []

    def capture(device):
        made.append(Capture(device))
        return made[-1]

    names = ("CAP_PROP_FOURCC", "CAP_PROP_FRAME_WIDTH", "CAP_PROP_FRAME_HEIGHT", "CAP_PROP_FPS", "CAP_PROP_BUFFERSIZE")
    fake = SimpleNamespace(
        VideoCapture=capture,
        VideoWriter=SimpleNamespace(fourcc=lambda *_: 1),
        CAP_PROP_POS_MSEC="stamp",
        COLOR_BGR2RGB="rgb",
        cvtColor=lambda image, _: image[..., ::-1],
        **{name: name for name in names},
    )
    monkeypatch.setattr(devices_module, "_opencv", lambda: fake)
    return made


def uvc(**options) -> CameraConfig:
    return CameraConfig(kind="opencv", device=2, width=64, height=48, **options)


def test_a_uvc_camera_has_a_buffer_of_one_and_the_kernels_time(captures) -> None:
    camera = open_camera("image", uvc(fps=60))
    frame = camera.wait_ready()
    camera.close()
    assert captures[0].device == 2
    assert captures[0].settings["CAP_PROP_BUFFERSIZE"] == 1
    assert captures[0].settings["CAP_PROP_FPS"] == 60
    assert captures[0].released
    assert frame.image[0, 0].tolist() == [0, 0, 200]
    assert 0.005 < frame.latency_s < 0.2


@pytest.mark.parametrize("lag_s", [-5.0, 1e5])
def test_a_time_stamp_of_another_clock_is_not_believed(captures, monkeypatch, lag_s) -> None:
    monkeypatch.setattr(Capture, "stamp_lag_s", lag_s)
    camera = open_camera("image", uvc())
    assert 0 <= camera.wait_ready().latency_s < 0.2
    camera.close()


def test_pictures_of_another_size_are_refused(captures, monkeypatch) -> None:
    monkeypatch.setattr(Capture, "size", (480, 640))
    with pytest.raises(ConfigError, match=r"gives 640 x 480.*64 x 48"), open_cameras({"image": uvc()}):
        pass


def test_no_such_device(captures, monkeypatch) -> None:
    monkeypatch.setattr(Capture, "opened", False)
    with pytest.raises(WorldError, match="no camera at 2"), open_cameras({"image": uvc()}):
        pass


def test_missing_libraries_name_their_extras(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.setitem(sys.modules, "pyrealsense2", None)
    for config, extra in ((uvc(), "cameras"), (CameraConfig(kind="realsense"), "realsense")):
        with pytest.raises(MissingDependencyError, match=rf"vlasteer\[{extra}\]"), open_cameras({"image": config}):
            pass


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "video"},
        {"kind": "opencv"},
        {"kind": "twin", "device": 3},
        {"kind": "twin", "fps": 0},
        {"kind": "twin", "max_age_s": 10.0},
        {"kind": "twin", "crop": (-1, 0, 4, 4)},
        {"kind": "twin", "crop": (0, 0, 0, 4)},
    ],
)
def test_configurations_that_cannot_be(options) -> None:
    with pytest.raises(ConfigError):
        CameraConfig(**options)
