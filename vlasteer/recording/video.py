"""Videos of cameras: H.264, one frame per step.

While an episode is open its video is a bare H.264 stream (Annex B of ITU-T H.264, which players open as `.h264`): it
has no index that a crash could leave unwritten, and each frame is in the file as soon as it is encoded. A fragmented
MP4 would hold back every frame until the next one. Sealing copies the frames, without coding them again, into an MP4
with its index in front. There are no B-frames: they would wait in the encoder, out of reach when the process dies, and
rerun shows such videos only where an ffmpeg executable is installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import EOFError as EndOfFile
from av.error import InvalidDataError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from numpy.typing import NDArray

from vlasteer.errors import OutputError
from vlasteer.recording.atomic import replace_file

KEY_DISTANCE = 5
"""Fresh frames from one key frame to the next: a frame picked at random costs few others to decode. Frames that repeat
the last one need hardly any bytes or time; they do not count and are never key frames."""
LOSSLESS_KEY_DISTANCE = 20
"""The same for lossless videos, whose key frames are several times as large as the others."""
_TICK = Fraction(1, 90_000)
"""s; the usual clock of videos whose frames come when they come."""
CRF = 20
"""x264's constant quality, lower is better: about 41 dB for LIBERO's pictures."""


def pixel_format(height: int, width: int, *, lossless: bool) -> str:
    """FFmpeg's name of the stored pixel format: half the colour resolution, except where a size is odd."""
    if lossless:
        return "gbrp"
    return "yuv420p" if height % 2 == 0 and width % 2 == 0 else "yuv444p"


def to_frame(image: NDArray[np.uint8]) -> av.VideoFrame:
    """Copy of an RGB image uint8 [height, width, 3], ready for `FrameLog.append`."""
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")


class FrameLog:
    """The growing video of an open episode; each frame is in the file when `append` returns.

    Args:
        path: the file, which must not exist.
        height, width: pixels.
        rate_hz: frames per second.
        lossless: keep every pixel exactly (RGB; several times larger, and browsers do not show it).

    Raises:
        OutputError: PyAV was built without the encoder.
    """

    def __init__(self, path: Path, *, height: int, width: int, rate_hz: float, lossless: bool) -> None:
        encoder = "libx264rgb" if lossless else "libx264"
        if encoder not in av.codecs_available:
            raise OutputError(f"this PyAV has no encoder '{encoder}'", fix="Run: pip install --force-reinstall av")
        codec = av.CodecContext.create(encoder, "w")
        assert isinstance(codec, VideoCodecContext)
        codec.height, codec.width = height, width
        codec.pix_fmt = "rgb24" if lossless else pixel_format(height, width, lossless=False)
        codec.framerate, codec.time_base = _rate(rate_hz), 1 / _rate(rate_hz)
        quality = {"qp": "0"} if lossless else {"crf": str(CRF)}
        # zerolatency: every frame leaves the encoder at once. aud: marks where a frame begins, for `seal_video`. Key
        # frames are placed by `append`: g only has to be out of the way, and sc_threshold forbids further ones.
        options = {"preset": "ultrafast", "tune": "zerolatency", "aud": "1", "g": "100000", "sc_threshold": "0"}
        codec.options = options | {"forced-idr": "1"} | quality
        codec.thread_count = 1  # frames are small; several recorders encode side by side
        self._codec, self._file = codec, path.open("xb")
        self._distance = LOSSLESS_KEY_DISTANCE if lossless else KEY_DISTANCE
        self._frames = self._since_key = 0
        self._last: av.VideoFrame | None = None

    def append(self, frame: av.VideoFrame) -> None:
        """Encode a frame of `to_frame` as the next one; the same frame may be given again."""
        fresh = frame is not self._last
        self._since_key += fresh
        key = self._frames == 0 or (fresh and self._since_key >= self._distance)
        frame.pict_type = PictureType.I if key else PictureType.NONE
        self._since_key = 0 if key else self._since_key
        frame.pts = self._frames
        self._frames, self._last = self._frames + 1, frame
        for packet in self._codec.encode(frame):
            self._file.write(bytes(packet))
        self._file.flush()

    def close(self) -> None:
        """Close the file; nothing waits in the encoder."""
        self._file.close()


def count_frames(log: Path) -> int:
    """Frames of a `FrameLog`."""
    try:
        with av.open(str(log), format="h264") as source:
            known = source.streams.video[0].codec_context.width > 0
            return sum(packet.size > 0 for packet in source.demux(video=0)) if known else 0
    except (InvalidDataError, EndOfFile):  # not even a whole frame
        return 0


def seal_video(log: Path, target: Path, *, frames: int, rate_hz: float) -> None:
    """Copy the first `frames` frames of a `FrameLog`, which holds as many, into an MP4, whole or not at all."""
    replace_file(target, lambda temporary: _remux(log, temporary, range(frames), 1 / _rate(rate_hz)))


def seal_timed_video(log: Path, target: Path, times_s: Sequence[float]) -> None:
    """`seal_video` of a camera that kept its own time: frame i is shown from `times_s[i]` on, ascending, first at 0."""
    ticks: list[int] = []
    for time_s in times_s:
        after = round((time_s - times_s[0]) / _TICK)
        ticks.append(max(after, ticks[-1] + 1) if ticks else 0)  # players want every frame at a time of its own
    replace_file(target, lambda temporary: _remux(log, temporary, ticks, _TICK))


def _remux(log: Path, target: Path, times: Sequence[int], tick: Fraction) -> None:
    with (
        av.open(str(log), format="h264") as source,
        av.open(str(target), "w", format="mp4", options={"movflags": "faststart"}) as sink,
    ):
        stream = sink.add_stream_from_template(source.streams.video[0])
        stream.time_base = tick
        for i, packet in zip(range(len(times)), source.demux(video=0), strict=False):
            packet.stream = stream
            packet.time_base = tick
            packet.pts = packet.dts = times[i]
            # The last frame is shown for as long as the one before it.
            packet.duration = times[i + 1] - times[i] if i + 1 < len(times) else max(1, times[i] - times[max(i - 1, 0)])
            sink.mux(packet)


def read_frames(path: Path, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
    """Frames `start` to `stop` (exclusive; None: to the end) of a sealed video, uint8 [height, width, 3] RGB."""
    with av.open(str(path)) as source:
        rate = float(source.streams.video[0].average_rate or 1)
        if start:
            source.seek(int(start / rate * av.time_base))  # to the key frame before it
        for frame in source.decode(video=0):
            index = round((frame.time or 0.0) * rate)
            if stop is not None and index >= stop:
                return
            if index >= start:
                yield _pixels(frame)


def read_all_frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """All frames in their order, whatever their times, uint8 [height, width, 3] RGB."""
    with av.open(str(path)) as source:
        yield from map(_pixels, source.decode(video=0))


def key_frames(path: Path, at_most: int) -> Iterator[NDArray[np.uint8]]:
    """Key frames of a sealed video, evenly chosen, without decoding any other."""
    with av.open(str(path)) as source:
        packets = [packet for packet in source.demux(video=0) if packet.is_keyframe]
        codec = source.streams.video[0].codec_context
        for packet in packets[:: -(-len(packets) // at_most)]:
            yield from map(_pixels, codec.decode(packet))
        yield from map(_pixels, codec.decode(None))


def video_info(height: int, width: int, rate: float, *, lossless: bool) -> dict[str, Any]:
    """What LeRobot's info.json says about a video."""
    return {
        "video.height": height,
        "video.width": width,
        "video.codec": "h264",
        "video.pix_fmt": pixel_format(height, width, lossless=lossless),
        "video.is_depth_map": False,
        "video.fps": rate,
        "video.channels": 3,
        "has_audio": False,
    }


def _pixels(frame: av.VideoFrame) -> NDArray[np.uint8]:
    return np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)


def _rate(rate_hz: float) -> Fraction:
    return Fraction(rate_hz).limit_denominator(1000)
