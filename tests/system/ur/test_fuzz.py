"""A short run of `ur_fuzz`; the long one is `python tests/ur_fuzz.py --minutes 10`."""

from __future__ import annotations

import pytest
from ur_fuzz import fuzz


@pytest.mark.slow
def test_random_policies_knobs_and_operators_break_no_limit() -> None:
    report = fuzz(25.0, seed=1)
    assert report.violations == [], str(report)
    assert report.targets > 200, str(report)
    assert report.tool_m > 0.05, str(report)
    assert report.counts["servo process lost"] == 0, str(report)
