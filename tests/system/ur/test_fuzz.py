"""Short runs of `ur_fuzz`; the long one is `python tests/ur_fuzz.py --minutes 10`."""

from __future__ import annotations

from typing import Literal

import pytest
from ur_fuzz import fuzz


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ur5e", "ur5"])
def test_random_policies_knobs_and_operators_break_no_limit(model: Literal["ur5e", "ur5"]) -> None:
    report = fuzz(25.0, seed=1, model=model)
    assert report.violations == [], str(report)
    assert not [name for name in report.counts if name.startswith("protective stop")], str(report)
    assert report.targets > 200, str(report)
    assert report.tool_m > 0.05, str(report)
    assert report.counts["servo process lost"] == 0, str(report)
