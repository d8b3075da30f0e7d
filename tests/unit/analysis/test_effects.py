"""Numbers of recorded runs against what can be computed by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from analysed_runs import AnalysedMaker
from recorded_runs import RunMaker, paired_run, rollout_config, straight

from vlasteer.analysis import QUANTITIES, AnalysedRun, effects_of, load_runs, summaries_of
from vlasteer.analysis.effects import EQUAL, WHOLE, draw_differences, effect_of_quantity, wilson_interval
from vlasteer.analysis.episodes import condition_name
from vlasteer.comparison import compare, episode_motions
from vlasteer.errors import InputError
from vlasteer.types import Outcome


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> AnalysedRun:
    return load_runs([paired_run(tmp_path_factory.mktemp("runs") / "fast", random=2)])[0]


class TestEffects:
    @pytest.mark.parametrize(
        ("quantity", "counting", "mean", "reference"),
        [
            ("step_length_mm", EQUAL, 13.5, 11.5),
            ("dx_mm", WHOLE, 13.5, 11.5),
            ("dy_mm", EQUAL, 0, 0),
            ("path_length_mm", WHOLE, 13.5 * 7, 11.5 * 9),
            ("path_length_mm", EQUAL, 13.5 * 7, 11.5 * 7),
            ("mean_speed_mm_s", EQUAL, 20 * 13.5, 20 * 11.5),
            ("peak_speed_mm_s", WHOLE, 20 * 13.5, 20 * 11.5),
            ("peak_height_mm", EQUAL, 100, 100),
            ("commanded_mm", EQUAL, 25, 25),
            ("steps", WHOLE, 8, 10),
            ("duration_s", WHOLE, 0.4, 0.5),
            ("success", WHOLE, 100, 100),
            ("non_action_tokens", WHOLE, 0, 0),
        ],
    )
    def test_by_hand(self, run, quantity, counting, mean, reference):
        effect = effect_of_quantity(effects_of(run), quantity, "fast = 2", counting=counting)
        assert effect is not None
        assert effect.pairs == 4
        assert effect.mean == pytest.approx(mean)
        assert effect.reference == pytest.approx(reference)
        assert effect.difference == pytest.approx(mean - reference)
        if quantity == "step_length_mm":  # the same in every pair: the interval is a point
            assert (effect.low, effect.high) == pytest.approx((2, 2))
            assert effect.relative == pytest.approx(2 / 11.5)
            assert effect.sure

    def test_agrees_with_the_closing_table_of_a_rollout(self, run):
        lines = {line.measure: line for line in compare(episode_motions(run.path))}
        for measure, quantity, counting in (
            ("moved length (mm, equal length)", "step_length_mm", EQUAL),
            ("moved |dx| (mm, per step)", "dx_mm", WHOLE),
            ("peak height (mm)", "peak_height_mm", WHOLE),
        ):
            effect = effect_of_quantity(effects_of(run), quantity, "fast = 2", counting=counting)
            assert effect is not None
            assert effect.difference == pytest.approx(lines[measure].difference)
            assert (effect.low, effect.high) == pytest.approx(lines[measure].interval)

    def test_every_draw_is_compared_by_itself(self, run):
        assert run.draws == ["0", "1"]
        assert draw_differences(effects_of(run), "step_length_mm") == pytest.approx([0, 0.1])

    def test_another_run_gives_the_reference(self):
        plain = AnalysedMaker(rollout_config(paired=False, steering=[]), name="plain")
        steered = AnalysedMaker(rollout_config(4, paired=False), name="steered")
        other = AnalysedMaker(rollout_config(4, paired=False, env="another"), name="other")
        for start in range(2):
            plain.episode("unsteered", start, straight(10, 6))
            steered.episode("steered", start, straight(15, 6), knobs={"fast": 4})
            other.episode("steered", start, straight(15, 6), knobs={"fast": 4})
        runs = [made.run() for made in (plain, steered, other)]
        assert effects_of(runs[1]) == []
        assert effects_of(runs[0], runs) == []
        assert effects_of(runs[2], runs) == []  # another world
        effect = effect_of_quantity(effects_of(runs[1], runs), "step_length_mm", "fast = 4")
        assert effect is not None
        assert (effect.reference_run, effect.difference) == ("plain", pytest.approx(5))

    def test_one_pair_has_no_interval(self):
        one = AnalysedMaker(rollout_config())
        one.episode("unsteered", 0, straight(10, 6))
        one.episode("steered", 0, straight(12, 6), knobs={"fast": 2})
        effect = effect_of_quantity(effects_of(one.run()), "step_length_mm", "fast = 2")
        assert effect is not None
        assert math.isnan(effect.low)
        assert not effect.sure


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> AnalysedRun:
    made = RunMaker(tmp_path_factory.mktemp("left") / "run", rollout_config(starts=[0, 1, 2]))
    made.episode("unsteered", 0, straight(10, 6), Outcome.HORIZON)
    made.episode("steered", 0, straight(99, 6), Outcome.FAILED, knobs={"fast": 2}, plan_index=1)
    made.episode("steered", 1, straight(99, 6), Outcome.STOPPED, knobs={"fast": 2}, plan_index=2)
    made.episode("steered", 2, straight(99, 3), Outcome.RUNNING, knobs={"fast": 2}, plan_index=3)
    made.episode("steered", 0, straight(12, 6), knobs={"fast": 2}, plan_index=1)  # run again
    return load_runs([made.close()])[0]


class TestWhatIsLeftOut:
    def test_broken_stopped_and_superseded_episodes(self, broken):
        assert [str(e.outcome) for e in broken.episodes] == ["horizon", "success", "stopped", "failed"]
        assert [e.interrupted for e in broken.episodes] == [False, False, False, True]
        assert (broken.superseded, broken.planned, len(broken.finished)) == (1, 6, 2)
        effect = effect_of_quantity(effects_of(broken), "step_length_mm", "fast = 2")
        assert effect is not None
        assert (effect.pairs, effect.difference) == (1, pytest.approx(2))

    def test_summaries_count_them(self, broken):
        steered = next(s for s in summaries_of(broken) if s.condition == "fast = 2")
        assert (steered.episodes, steered.left_out, steered.successes, steered.rate) == (1, 2, 1, 100)
        assert steered.means["step_length_mm"] == pytest.approx(12)


class TestSummaries:
    def test_draws_together_and_each(self, run):
        found = {(s.condition, s.draw): s.episodes for s in summaries_of(run)}
        expected = {("unsteered", None): 4, ("fast = 2", None): 4}
        assert found == expected | {("random", None): 8, ("random", "0"): 4, ("random", "1"): 4}
        assert set(summaries_of(run)[0].means) == set(QUANTITIES)

    @pytest.mark.parametrize(
        ("successes", "count", "low", "high"), [(10, 10, 0.7225, 1.0), (0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634)]
    )
    def test_wilson_as_tabulated(self, successes, count, low, high):
        assert wilson_interval(successes, count) == pytest.approx((low, high), abs=5e-5)

    def test_wilson_of_nothing(self):
        assert np.isnan(wilson_interval(0, 0)).all()


def _smallest(path: Path) -> Path:
    made = RunMaker(path, rollout_config())
    made.episode("steered", 0, straight(10, 2), knobs={"fast": 2})
    return made.close()


class TestReading:
    def test_runs_that_cannot_be_analysed(self, tmp_path):
        empty = RunMaker(tmp_path / "empty", rollout_config()).close()
        with pytest.raises(InputError, match="no finished episode yet"):
            load_runs([empty])
        with pytest.raises(InputError, match="no run folder"):
            load_runs([tmp_path])
        with pytest.raises(InputError, match="given twice"):
            load_runs([empty, Path(f"{empty}/../empty").resolve()])

    def test_names_tell_runs_apart(self, tmp_path):
        paths = [_smallest(tmp_path / parent / "fast") for parent in ("a", "b")]
        assert [run.name for run in load_runs(paths)] == ["a/fast", "b/fast"]

    def test_a_state_without_positions(self, tmp_path):
        made = RunMaker(tmp_path / "run", rollout_config(), states=("j0", "j1", "j2"))
        made.episode("unsteered", 0, straight(10, 4))
        made.episode("steered", 0, straight(10, 3), knobs={"fast": 2})
        (run,) = load_runs([made.close()])
        assert run.episodes[0].positions is None
        assert {e.quantity for e in effects_of(run)} == {"success", "steps", "duration_s", "non_action_tokens"}

    @pytest.mark.parametrize(
        ("config", "label"),
        [
            (rollout_config(2.5), "fast = 2.5"),
            (rollout_config("q0.9"), "fast = q0.9"),
            (rollout_config(2, instruction="go slowly"), 'fast = 2, told "go slowly"'),
            (
                rollout_config(2, steering=[{"feature": "fast", "coefficient": "2", "operator": "add"}]),
                "fast = 2 (add)",
            ),
        ],
    )
    def test_conditions_are_named_by_what_was_turned(self, config, label):
        assert condition_name("steered", {"fast": np.full(3, 2.0), "other": np.full(3, np.nan)}, config) == label

    def test_knobs_that_are_turned_leave_the_arm_its_name(self, tmp_path):
        made = RunMaker(tmp_path / "run", {"command": "drive"})
        made.episode("live", 0, straight(10, 4), knobs={"fast": [np.nan, 1, 1, 2]})
        made.episode("live", 0, straight(10, 4), knobs={"fast": 2})
        assert load_runs([made.close()])[0].conditions == ["live"]
