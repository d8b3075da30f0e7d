"""One session: board, steering, operators, recording, and episodes one after the other."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from vlasteer.errors import WorldError
from vlasteer.launch.driving.operators import attend, stopping_at_signals
from vlasteer.launch.driving.preflight_table import PreflightTable
from vlasteer.launch.driving.status_line import StatusLine
from vlasteer.types import Outcome

if TYPE_CHECKING:
    from vlasteer.knobs import KnobBoard
    from vlasteer.launch.drive import Drive
    from vlasteer.launch.driving.panel import Panel
    from vlasteer.launch.driving.places import Place
    from vlasteer.launch.page import Page
    from vlasteer.live import LiveStatus
    from vlasteer.protocols import Policy, Sink
    from vlasteer.runs import RunFolder
    from vlasteer.runtime import PlannedEpisode

ARM = "live"
"""Name of the condition in recordings: knobs as somebody turns them."""


def drive(options: Drive, policy: Policy, panel: Panel, place: Place) -> None:
    """Run the episodes. Whatever ends them (an error, a signal, a source's stop), what was recorded is kept."""
    from vlasteer.knobs import KnobBoard
    from vlasteer.live import LiveOptions, run_live
    from vlasteer.steering import steer

    world = place.world
    board = KnobBoard(panel.knobs, instruction=options.instruction or "")
    with ExitStack() as stack:
        run = _run_folder(stack, options, policy, panel, place)
        asked, make_recorder = policy, None
        if run is not None:
            stack.callback(lambda: print(f"\nThe run is in {run.path}: run.yaml, knobs.jsonl, data/, videos/, meta/"))
            dataset = run.dataset(state_names=world.state_names, lossless=options.lossless)
            taps = options.tapped(policy, dataset, robot=options.robot is not None)
            asked, make_recorder = stack.enter_context(taps)
        port = stack.enter_context(steer(policy, panel.steering, negative_control=options.negative_control))
        page = stack.enter_context(_page(options, board, panel, place)) if options.page else None
        present = stack.enter_context(attend(board, options))
        raise_if_interrupted = stack.enter_context(stopping_at_signals(board))
        line, preflight = StatusLine(present.chosen, dry_run=options.dry_run), PreflightTable(world)
        stack.callback(line.close)
        _say(options, page, present.hints)

        def sinks(_: PlannedEpisode) -> list[Sink]:
            recorders = [] if make_recorder is None else [make_recorder(place.companions())]
            return [*recorders, *([] if page is None else [page])]

        def tick(status: LiveStatus) -> None:
            preflight.show()
            line.tick(status)
            if page is not None:
                page.tick(status)
            for act in present.ticks:
                act(status)

        for number in range(options.episodes):
            episode = _episode(options, panel, place, number, run)
            place.prepare(episode.info.key)
            try:
                outcome = run_live(
                    asked,
                    world,
                    episode,
                    sinks=sinks,
                    board=board,
                    port=port,
                    options=LiveOptions(replan=options.replan, overlap=not options.sync),
                    on_tick=tick,
                    log=None if run is None else run.path / "knobs.jsonl",
                )
            finally:
                preflight.show()  # a refusal is told with the table that it is about
            place.rest()
            line.close()
            raise_if_interrupted()
            print(f"Episode {number + 1} of {options.episodes} ended: {outcome.value}", file=sys.stderr)
            if board.stopping:
                break
            if outcome in (Outcome.STOPPED, Outcome.FAILED):
                raise WorldError(f"the {world.name} ended it: {line.note}", fix="Look at it before the next start")


def _run_folder(stack: ExitStack, options: Drive, policy: Policy, panel: Panel, place: Place) -> RunFolder | None:
    """The run folder of --record, locked; the same session continues it."""
    from vlasteer.runs import RunFolder
    from vlasteer.steering.description import describe

    if options.record is None:
        return None
    config = {
        "command": "drive",
        "env": options.env,
        "robot": options.robot,
        "dry_run": options.dry_run,
        "checkpoint_hash": policy.checkpoint_hash,
        "steering": describe(panel.steering),
        **{name: getattr(options, name) for name in ("unnorm_key", "convention", "dtype", "lossless")},
    }
    facts: dict[str, Any] = {
        "policy": options.policy,
        "pack": options.pack,
        "device": options.device,
        "world": dict(place.facts),
        "speed": options.speed,
        "sync": options.sync,
    }
    run = stack.enter_context(RunFolder.create_or_resume(options.record, config, facts=facts))
    if place.servo_log is not None:
        place.servo_log.mkdir(exist_ok=True)
    if panel.pack is not None:
        panel.pack.save(run.path / "features.json")
    return run


def _episode(options: Drive, panel: Panel, place: Place, number: int, run: RunFolder | None) -> PlannedEpisode:
    from vlasteer.runtime import PlannedEpisode
    from vlasteer.types import EpisodeInfo, EpisodeKey

    world = place.world
    key = EpisodeKey(options.task, options.start + number, options.seed)
    indices = [] if run is None else [int(episode["plan_index"]) for episode in run.episodes()]
    info = EpisodeInfo(
        index=max(indices, default=-1) + 1,
        key=key,
        instruction=options.instruction or place.instruction(key),
        arm=ARM,
        world=world.name,
        action_spec=world.action_spec,
        feature_names=tuple(sorted(panel.steering.names)),
        extra={"dry_run": options.dry_run},
    )
    return PlannedEpisode(info)


def _page(options: Drive, board: KnobBoard, panel: Panel, place: Place) -> Page:
    from vlasteer.kinematics import arm_model
    from vlasteer.launch.page import Page

    return Page(
        board,
        world_name=place.world.name,
        cameras=place.world.cameras,
        knobs=board.knobs,
        rate_hz=place.world.action_spec.rate_hz,
        host=options.page_host,
        port=options.page_port,
        token=options.page_token,
        dry_run=options.dry_run,
        packs=panel.packs,
        action_spec=place.world.action_spec,
        look=place.look if place.cameras else None,
        arm=arm_model("ur5" if options.robot == "ur5" else "ur5e"),
    )


def _say(options: Drive, page: Page | None, hints: list[str]) -> None:
    """What the person in front of it has to know before the first press."""
    lines = ["DRY RUN: nothing that moves is sent."] if options.dry_run else []
    if page is not None:
        lines.append(f"The page is at {page.url}")
    print("\n".join([*lines, *hints]), file=sys.stderr, flush=True)
