"""The card of a shipped organism, much reduced: interrupted, resumed, and made again from what it kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlasteer.launch.training import candidates, card
from vlasteer.launch.training.card import CONCEPTS, CardOptions, evaluate
from vlasteer.registry import load_policy
from vlasteer.studies.archive import MotionArchive

SMALL = CardOptions(episodes=5, selection=5, draws=1, draw_episodes=5, rows=10)


def test_an_interrupted_card_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "CONCEPTS", {"fast": CONCEPTS["fast"]})
    monkeypatch.setattr(card, "COEFFICIENTS", {"projection": (2.0, 4.0), "contrast": (0.5,)})
    monkeypatch.setattr(candidates, "_EPISODES", 2)
    policy = load_policy("openvla-nano", world="tabletop_transport")
    kept = tmp_path / "episodes.jsonl"

    ended = 0

    def stop_early(count: int) -> None:
        nonlocal ended
        ended += count
        if ended >= 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(policy, SMALL, MotionArchive(kept), stop_early)
    before = len(MotionArchive(kept).motions)
    assert before >= 20

    resumed = MotionArchive(kept)
    numbers = evaluate(policy, SMALL, resumed, lambda _: None)
    assert len({(one.arm, one.key) for one in resumed.motions}) == len(resumed.motions) > before
    fast = numbers["projection"]["fast"]
    assert fast["coefficient"] in (2.0, 4.0)
    assert fast["success"] >= 0.8
    assert fast["difference"] > 3 * abs(fast["draws"]["mean"])
    assert len(numbers["contrast"]["fast"]["selection"]) == 4

    again = MotionArchive(kept)
    repeated = evaluate(policy, SMALL, again, lambda _: None)
    assert len(again.motions) == len(resumed.motions), "nothing was run again"
    for method in ("projection", "contrast"):
        for figure in ("coefficient", "difference", "success", "tests"):
            # The archive keeps tenths of micrometres.
            assert repeated[method]["fast"][figure] == pytest.approx(numbers[method]["fast"][figure], abs=1e-3)
