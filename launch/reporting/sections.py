"""What one run looked like: frames of some episodes, and motion over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vlasteer.analysis import AnalysedRun, Episode, turned_knobs
from vlasteer.comparison import RANDOM, UNSTEERED
from vlasteer.errors import InputError
from vlasteer.launch.reporting import page
from vlasteer.launch.reporting.motions import Group, Track, motion_over_time, session
from vlasteer.launch.reporting.page import Html
from vlasteer.launch.reporting.strips import Frame, faded, moments, strip
from vlasteer.launch.reporting.style import ACCENT, CHANCE, PLAIN
from vlasteer.recording import episode_frames

MOST_SESSIONS = 6
"""Episodes with turned knobs that are drawn; more are in the tables."""
_FLAGS = ("safety", "stop", "hold", "fault", "limit")
"""Recorded quantities whose name contains one of these are shaded where they are not 0."""


def films(run: AnalysedRun, *, starts: int = 1, chance: bool = True) -> list[Html]:
    """Strips of frames: the conditions of the first starts that all of them finished, or the first episodes.

    Args:
        run: whose.
        starts: how many.
        chance: show a random draw, too.
    """
    if not run.layout.cameras:
        return []
    camera = next(iter(run.layout.cameras))
    try:
        return [_film(run, camera, group) for group in _groups(run, chance)[:starts]]
    except (OSError, InputError):  # the numbers are worth a report without the pictures
        return [page.paragraph("The videos of this run cannot be read, so there are no pictures.", kind="note")]


def _groups(run: AnalysedRun, chance: bool) -> list[list[Episode]]:
    """Per start one episode of every condition; of random draws the first one."""
    shown = [e for e in run.episodes if len(e) and (e.finished or not run.finished or e.arm not in (UNSTEERED, RANDOM))]
    shown = [e for e in shown if chance or e.arm != RANDOM] or shown
    if len({e.condition for e in shown}) < 2:
        return [[episode] for episode in shown]
    by_key: dict[object, dict[str, Episode]] = {}
    for episode in shown:
        by_key.setdefault(episode.key, {}).setdefault(episode.condition, episode)
    most = max((len(group) for group in by_key.values()), default=0)
    return [list(group.values()) for group in by_key.values() if len(group) == most]


def _film(run: AnalysedRun, camera: str, group: Sequence[Episode]) -> Html:
    steps = moments([len(episode) for episode in group])
    rows = []
    for episode in group:
        running = [step for step in steps if step < len(episode)]
        frames: list[Frame | None] = [_frame(run, camera, episode, step) for step in running]
        if len(running) < len(steps):
            last = _frame(run, camera, episode, len(episode) - 1)
            frames.append(None if last is None else faded(last))
        frames += [None] * (len(steps) - len(frames))
        rows.append((f"{episode.condition}: {_ending(episode)}", strip(frames)))
    longest = max(group, key=len)
    times = [f"{longest.time_s[step]:.2f} s" for step in steps]
    where = f"task {group[0].key.task} (“{group[0].instruction}”), start {group[0].key.start}"
    same = ", from the same start at the same times; pale: the last frame of one that had ended" * (len(group) > 1)
    return page.film(rows, times, f"Camera “{camera}”, {where}{same}.")


def _frame(run: AnalysedRun, camera: str, episode: Episode, step: int) -> Frame | None:
    return next(iter(episode_frames(run.path, episode.index, camera, step, step + 1)), None)


def _ending(episode: Episode) -> str:
    how = "interrupted" if episode.interrupted else str(episode.outcome)
    return f"{how} after {len(episode)} steps ({len(episode) / episode.rate_hz:.1f} s)"


def motion_figures(run: AnalysedRun) -> list[Html]:
    """Speed and height over time with the knobs under them: conditions over each other, or one picture a session."""
    moving = [e for e in run.episodes if e.positions is not None and len(e) > 2]
    turned = turned_knobs(moving)
    if turned:
        sessions = [e for e in moving if turned_knobs([e])] or moving
        return [_session(episode, turned) for episode in sessions[:MOST_SESSIONS]]
    finished = [e for e in moving if e.finished] or moving
    if not finished:
        return []
    knobs = [name for name in dict.fromkeys(n for e in finished for n in e.knobs) if "~" not in name]
    conditions = dict.fromkeys(e.condition for e in sorted(finished, key=_layer))
    groups = [_group(condition, [e for e in finished if e.condition == condition]) for condition in conditions]
    return [
        page.figure(
            motion_over_time(groups, knobs, run.layout.action_spec.rate_hz),
            "Speed and height of the end effector over time, and under them the steering value. Thin lines are"
            " episodes (with more than 24 of them, the shade holds the middle 80 %); thick ones are their mean, as long"
            " as at least half of the episodes run. Random neurons are shown by their mean.",
            alt=f"Speed, height and steering over time in {run.name}",
        )
    ]


def _layer(episode: Episode) -> int:
    return {RANDOM: 0, UNSTEERED: 1}.get(episode.arm, 2)


def _group(condition: str, episodes: Sequence[Episode]) -> Group:
    colour = {RANDOM: CHANCE, UNSTEERED: PLAIN}.get(episodes[0].arm, ACCENT)
    label = "random neurons" if episodes[0].arm == RANDOM else condition
    return Group(label, colour, [_track(e) for e in episodes], lines=episodes[0].arm != RANDOM)


def _track(episode: Episode, knobs: Sequence[str] | None = None) -> Track:
    assert episode.positions is not None
    names = [name for name in episode.knobs if "~" not in name] if knobs is None else knobs
    return Track(
        time_s=episode.time_s,
        speed=np.append(1e3 * episode.speed_m_s, np.nan),
        height=1e3 * episode.positions[:, 2],
        knobs={name: episode.knobs[name] for name in names},
        setpoints={name: v for name in names if (v := episode.extras.get(f"knob.{name}.setpoint")) is not None},
        marks_s=episode.time_s[1:][np.diff(episode.extras["mark"]) > 0].tolist() if "mark" in episode.extras else (),
    )


def _session(episode: Episode, knobs: Sequence[str]) -> Html:
    flags = {
        name: values
        for name, values in episode.extras.items()
        if any(flag in name for flag in _FLAGS) and 0 < np.count_nonzero(np.nan_to_num(values)) < len(values)
    }
    track = _track(episode, knobs)
    if "speed" in episode.extras and np.ptp(episode.extras["speed"]) > 0:
        track = replace(track, knobs={**track.knobs, "speed scale": episode.extras["speed"]})
    notes = f" Red shade: {', '.join(flags)} not 0." if flags else ""
    notes += " Dotted: what the knob was set to." if track.setpoints else ""
    notes += " Dashed: marks." if len(track.marks_s) else ""
    return page.figure(
        session(track, flags),
        f"Episode {episode.index} (“{episode.instruction}”, {_ending(episode)}): speed and height of the end effector"
        " (pale: every step, strong: mean over half a second), and under them the values of the knobs; a gap means that"
        f" the knob was off.{notes}",
        alt=f"Episode {episode.index}",
    )
