"""The arms of a paired run beside each other in one video, with what steers them written on the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]

_HEIGHT = 320
_CAPTION = 44
_HOLD_S = 1.0
_PAPER, _INK, _STRONG = (24, 26, 30), (214, 218, 224), (255, 196, 77)


def write_side_by_side(run: Path, out: Path, *, episodes: int = 5) -> int:
    """Write an mp4 of the first starts that every arm has finished; returns how many there are (0: no file).

    Each panel is the main camera of one arm; it stands still once its episode has ended.

    Args:
        run: run folder with at least two arms.
        out: the file.
        episodes: how many starts, one after the other.
    """
    import av

    from vlasteer.recording import finished_episodes, read_episodes
    from vlasteer.recording.reader import read_layout

    layout = read_layout(run)
    camera, rate = next(iter(layout.cameras)), round(layout.action_spec.rate_hz)
    groups = _groups(list(finished_episodes(read_episodes(run)).values()))[:episodes]
    if not groups:
        return 0
    partial = out.with_name(out.name + ".part")
    with av.open(str(partial), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "veryfast"})
        stream.pix_fmt = "yuv420p"
        for i, group in enumerate(groups):
            for picture in _pictures(run, camera, group, hold=round(_HOLD_S * rate)):
                if i == 0 and not stream.codec_context.is_open:
                    stream.height, stream.width = picture.shape[:2]
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    partial.replace(out)
    return len(groups)


def _groups(episodes: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Per start, one episode of every arm, arms in the order in which they first appear."""
    arms = list(dict.fromkeys(row["arm"] for row in episodes))
    if len(arms) < 2:
        return []
    by_key: dict[tuple[int, int, int], dict[str, Mapping[str, Any]]] = {}
    for row in episodes:
        by_key.setdefault((row["task"], row["start"], row["seed"]), {}).setdefault(row["arm"], row)
    return [[group[arm] for arm in arms] for group in by_key.values() if len(group) == len(arms)]


def _pictures(run: Path, camera: str, group: Sequence[Mapping[str, Any]], *, hold: int) -> list[Frame]:
    from vlasteer.recording import episode_frames

    clips = [list(episode_frames(run, row["episode_index"], camera)) for row in group]
    turned = [_turned(run, row) for row in group]
    length = max(len(clip) for clip in clips) + hold
    return [
        np.concatenate(
            [
                _panel(clip[min(t, len(clip) - 1)], row, t, len(clip), knobs)
                for clip, row, knobs in zip(clips, group, turned, strict=True)
            ],
            axis=1,
        )
        for t in range(length)
    ]


def _turned(run: Path, row: Mapping[str, Any]) -> str:
    """What steers the episode, e.g. "fast 5": the knobs of its first step that are not off."""
    from vlasteer.recording import read_steps

    table = read_steps(run, [row["episode_index"]])
    names = [name for name in table.column_names if name.startswith("steering.")]
    values = {name.partition(".")[2]: table[name][0].as_py() for name in names}
    return ", ".join(f"{name} {value:g}" for name, value in values.items() if value is not None and value == value)


def _panel(frame: Frame, row: Mapping[str, Any], step: int, length: int, turned: str) -> Frame:
    from PIL import Image, ImageDraw, ImageFont

    width = 2 * round(frame.shape[1] * _HEIGHT / frame.shape[0] / 2)
    panel = Image.new("RGB", (width, _HEIGHT + _CAPTION), _PAPER)
    panel.paste(Image.fromarray(frame).resize((width, _HEIGHT), Image.Resampling.LANCZOS), (0, _CAPTION))
    draw = ImageDraw.Draw(panel)
    ended = f"{row['outcome']} after {length} steps" if step >= length else f"step {step + 1}"
    title = f"{row['arm']}: {turned}" if turned else row["arm"]
    draw.text((8, 4), title, _STRONG if turned else _INK, ImageFont.load_default(15))
    draw.text((8, 24), ended, _INK, ImageFont.load_default(13))
    return np.asarray(panel)
