"""Charts and strips: pictures of the size that they should have, that show what they are given."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vlasteer.launch.reporting.charts import Curve, CurvePanel, Mark, Panel, curves, forest, heat
from vlasteer.launch.reporting.motions import Group, Track, motion_over_time, session, smoothed, spans
from vlasteer.launch.reporting.strips import faded, moments, strip
from vlasteer.launch.reporting.style import ACCENT, KNOB, PLAIN, WARN


def pixels(data: bytes) -> NDArray[np.int64]:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def colour_share(data: bytes, colour: str) -> float:
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return float((np.abs(pixels(data) - wanted).max(-1) < 24).mean())


def column_of(data: bytes, colour: str) -> float:
    """Mean horizontal position of a colour, from 0 to 1."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    image = pixels(data)
    return float(np.nonzero(np.abs(image - wanted).max(-1) < 24)[1].mean() / image.shape[1])


class TestForest:
    def test_points_are_where_their_values_are(self):
        def drawn(value: float) -> bytes:
            return forest(["a"], [Panel("q", "mm", [Mark(value, value - 1, value + 1)], span=(-20, 20))])

        assert column_of(drawn(-10), ACCENT) < column_of(drawn(0.5), ACCENT) < column_of(drawn(10), ACCENT)

    def test_what_is_not_claimed_is_a_cross(self):
        claimed = forest(["a"], [Panel("q", "mm", [Mark(5, 4, 6)])])
        void = forest(["a"], [Panel("q", "mm", [Mark(5, 4, 6, void=True)])])
        assert colour_share(claimed, WARN) == 0 < colour_share(void, WARN)
        assert colour_share(void, ACCENT) == 0 < colour_share(claimed, ACCENT)

    def test_a_sure_effect_is_filled(self):
        sure, unsure = (forest(["a"], [Panel("q", "mm", [Mark(v, v - 4, v + 4)], span=(-10, 10))]) for v in (5, 3))
        assert colour_share(sure, ACCENT) > colour_share(unsure, ACCENT)

    def test_unknown_values_draw_nothing(self):
        nothing = forest(["a", "b"], [Panel("q", "mm", [Mark(np.nan), Mark(np.nan)])])
        assert colour_share(nothing, ACCENT) == 0

    def test_rows_make_it_taller(self):
        panel = Panel("q", "mm", [Mark(1.0)] * 12)
        assert (
            pixels(forest(list("abcdefghijkl"), [panel])).shape[0]
            > pixels(forest(["a"], [Panel("q", "mm", [Mark(1)])])).shape[0]
        )


class TestCurvesAndHeat:
    def test_curves(self):
        curve = Curve("fast", [1, 2, 4], [0, 1, 3], [-1, 0, 2], [1, 2, 4], points=True, chance=([1, 2], [0, 0]))
        data = curves([CurvePanel("t", "x", "y", [curve], zero=True, ticks=[1, 2, 4])] * 2)
        assert colour_share(data, ACCENT) > 0

    def test_heat_shades_by_sign(self):
        data = heat(np.array([[4.0, -4.0], [np.nan, 0.0]]), ["a", "b"], ["c", "d"], title="t", x="x", y="y")
        assert column_of(data, ACCENT) < column_of(data, KNOB)


def track(n: int, speed: float = 100.0) -> Track:
    time = np.arange(n) / 20
    knob = np.where(time < 0.5, np.nan, 2.0)
    return Track(time, np.append(np.full(n - 1, speed), np.nan), 50 + 10 * time, {"fast": knob})


class TestMotion:
    @pytest.mark.parametrize("count", [1, 3, 40])
    def test_conditions_over_each_other(self, count):
        groups = [
            Group("unsteered", PLAIN, [track(30 + i) for i in range(count)]),
            Group("fast = 2", ACCENT, [track(20 + i, 200) for i in range(count)]),
        ]
        data = motion_over_time(groups, ["fast"], 20.0)
        assert colour_share(data, ACCENT) > 0
        assert colour_share(data, PLAIN) > 0

    def test_a_session_shades_flags(self):
        flag = np.zeros(40)
        plain, flagged = (session(track(40), {"safety": values}) for values in (flag, flag + 1))
        assert not np.array_equal(pixels(plain), pixels(flagged))

    def test_smoothing_keeps_means_and_gaps(self):
        time, values = np.arange(20) / 20, np.full(20, 3.0)
        values[5] = np.nan
        np.testing.assert_allclose(smoothed(time, values), 3.0)
        np.testing.assert_allclose(smoothed(time, np.arange(20.0), seconds=0.15)[5:8], [5, 6, 7])
        assert np.isnan(smoothed(time, np.full(20, np.nan))).all()

    def test_spans(self):
        assert spans(np.array([0, 1, 1, 0, np.nan, 2])) == [(1, 3), (5, 6)]
        assert spans(np.zeros(3)) == []


class TestStrips:
    def test_moments(self):
        assert moments([10, 101], 5) == [0, 25, 50, 75, 100]
        assert moments([3], 7) == [0, 1, 2]
        assert moments([1], 7) == [0]

    def test_frames_side_by_side(self):
        red = np.zeros((48, 64, 3), np.uint8)
        red[..., 0] = 255
        image = pixels(strip([red, None]))
        height, width = image.shape[:2]
        assert (height, width) == (96, 2 * 128 + 6)
        assert image[48, 64, 0] > 240
        assert image[48, 64, 1] < 20
        assert image[48, 200].min() > 230  # the episode had ended

    def test_an_ended_episode_is_pale(self):
        assert faded(np.zeros((2, 2, 3), np.uint8)).min() == 165
        assert faded(np.full((2, 2, 3), 255, np.uint8)).min() == 255

    def test_large_frames_are_scaled_down(self):
        big = np.zeros((1080, 1920, 3), np.uint8)
        assert pixels(strip([big] * 7)).shape[1] <= 1520
