"""What a robot's state says about itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rtde_receive", reason="ur_rtde is not installed: pip install 'vlasteer[ur]'")
from vlasteer.robots.ur.client import PLAYING, RobotState

SIX = np.zeros(6)
STATE = RobotState(1.0, 0.0, True, SIX, SIX, SIX, SIX, SIX, 1, PLAYING, 7, 1.0, 0.0)


@pytest.mark.parametrize("speed", [0.021, -0.5, np.nan, np.inf])
@pytest.mark.parametrize("joint", range(6))
def test_an_arm_that_moves_or_whose_speed_is_unknown_is_not_at_rest(joint: int, speed: float) -> None:
    assert STATE.at_rest
    qd = np.zeros(6)
    qd[joint] = speed
    assert not replace(STATE, qd=qd).at_rest
