"""Videos frame by frame: on disk at once, in their place in time, cheap where nothing is new."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from vlasteer.recording.video import (
    KEY_DISTANCE,
    LOSSLESS_KEY_DISTANCE,
    FrameLog,
    count_frames,
    key_frames,
    read_frames,
    seal_video,
    to_frame,
)


def pictures(count: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A bright square that moves over a gradient."""
    canvas = np.linspace(40, 180, width, dtype=np.uint8)[None, None, :, None].repeat(count, 0).repeat(height, 1)
    frames = np.ascontiguousarray(canvas.repeat(3, 3))
    for k in range(count):
        frames[k, 10:20, (3 * k) % (width - 10) :][:, :10] = 230
    return frames


def write(
    path: Path, frames: np.ndarray, *, repeats: int = 1, rate_hz: float = 20, lossless: bool = False
) -> list[int]:
    """Log of the frames, each `repeats` times; returns the file's size after each."""
    log = FrameLog(path, height=frames.shape[1], width=frames.shape[2], rate_hz=rate_hz, lossless=lossless)
    sizes = []
    for image in frames:
        frame = to_frame(image)
        for _ in range(repeats):
            log.append(frame)
            sizes.append(path.stat().st_size)
    log.close()
    return sizes


def test_each_frame_is_in_the_file_when_append_returns(tmp_path):
    frames = pictures(12)
    sizes = write(tmp_path / "log", frames)
    whole = (tmp_path / "log").read_bytes()
    for k, size in enumerate(sizes):
        (tmp_path / "part").write_bytes(whole[:size])
        assert count_frames(tmp_path / "part") == k + 1
        seal_video(tmp_path / "part", tmp_path / "part.mp4", frames=k + 1, rate_hz=20)
        found = list(read_frames(tmp_path / "part.mp4"))
        assert len(found) == k + 1
        assert np.abs(found[-1].astype(int) - frames[k]).mean() < 4


def test_a_repeated_frame_costs_next_to_nothing(tmp_path):
    sizes = np.diff([0, *write(tmp_path / "log", pictures(5), repeats=10)]).reshape(5, 10)
    assert np.median(sizes[:, 1:]) < 64  # the encoder spends some on making a standing picture better
    assert sizes[:, 1:].max() < sizes[0, 0] / 2
    assert count_frames(tmp_path / "log") == 50


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("repeats", [1, 4])
def test_key_frames_come_at_their_distance_whatever_the_pictures_do(tmp_path, lossless, repeats):
    random = np.random.default_rng(0)
    frames = random.integers(0, 255, (45, 1, 1, 3)).repeat(32, 1).repeat(32, 2).astype(np.uint8)  # a cut at every frame
    write(tmp_path / "log", frames, repeats=repeats, lossless=lossless)
    seal_video(tmp_path / "log", tmp_path / "v.mp4", frames=45 * repeats, rate_hz=20)
    with av.open(str(tmp_path / "v.mp4")) as source:
        keys = [i for i, packet in enumerate(p for p in source.demux(video=0) if p.size) if packet.is_keyframe]
    distance = LOSSLESS_KEY_DISTANCE if lossless else KEY_DISTANCE
    assert keys == list(range(0, 45 * repeats, distance * repeats))

    chosen = list(key_frames(tmp_path / "v.mp4", at_most=2))
    everything = list(read_frames(tmp_path / "v.mp4"))
    assert 1 <= len(chosen) <= 2
    np.testing.assert_array_equal(chosen[0], everything[0])
    assert len(list(key_frames(tmp_path / "v.mp4", at_most=1000))) == len(keys)


@pytest.mark.parametrize("rate_hz", [1, 5, 10, 12.5, 20, 30, 59.94, 125])
def test_frames_are_where_their_step_is_in_time(tmp_path, rate_hz):
    write(tmp_path / "log", pictures(13), rate_hz=rate_hz)
    seal_video(tmp_path / "log", tmp_path / "v.mp4", frames=13, rate_hz=rate_hz)
    with av.open(str(tmp_path / "v.mp4")) as source:
        times = [frame.time for frame in source.decode(video=0)]
        stream = source.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(13 / rate_hz, abs=1e-4)
    np.testing.assert_allclose(times, np.arange(13) / rate_hz, atol=5e-5)  # LeRobot asks for 1e-4

    everything = list(read_frames(tmp_path / "v.mp4"))
    for start, stop in ((0, None), (0, 1), (3, 9), (7, 8), (12, None), (5, 5)):
        np.testing.assert_array_equal(list(read_frames(tmp_path / "v.mp4", start, stop)), everything[start:stop])


def test_a_video_of_one_frame(tmp_path):
    write(tmp_path / "log", pictures(1))
    seal_video(tmp_path / "log", tmp_path / "v.mp4", frames=1, rate_hz=20)
    assert len(list(read_frames(tmp_path / "v.mp4"))) == 1


def test_colours_are_not_shifted(tmp_path):
    colours = np.array([[230, 30, 30], [30, 230, 30], [30, 30, 230], [128, 128, 128], [255, 255, 255], [0, 0, 0]])
    frames = colours.astype(np.uint8)[:, None, None].repeat(32, 1).repeat(32, 2)
    write(tmp_path / "log", frames)
    seal_video(tmp_path / "log", tmp_path / "v.mp4", frames=len(frames), rate_hz=20)
    for found, colour in zip(read_frames(tmp_path / "v.mp4"), colours, strict=True):
        np.testing.assert_allclose(found.mean(axis=(0, 1)), colour, atol=4)


def test_an_empty_log_holds_no_frame(tmp_path):
    (tmp_path / "log").write_bytes(b"")
    assert count_frames(tmp_path / "log") == 0
