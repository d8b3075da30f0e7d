"""`vlasteer replay`: a recorded episode once more, in its world or before its policy, and what had been otherwise."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro

from vlasteer.errors import ConfigError, InputError
from vlasteer.launch.interruption import interruptible
from vlasteer.launch.progress import progress_bar

if TYPE_CHECKING:
    from vlasteer.protocols import Policy, World
    from vlasteer.recording.episode import RecordedEpisode
    from vlasteer.replay import Condition
    from vlasteer.runs import Run
    from vlasteer.steering import Steering

_WORLD_OPTIONS = ("split", "resolution", "cameras", "horizon", "fast")
_POLICY_OPTIONS = ("unnorm_key", "convention", "tokenizer", "fast_tokenizer", "dtype")


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Repeat a recorded episode, step for step, and say with numbers whether it is the same.

    Without further options the recorded actions are executed in the simulation again. Of a robot's run the servo log
    goes through trajectory and safety filter again, which must give the recorded commands bit for bit; --robot twin
    then sends these through the filter to a twin. With --reinfer or --counterfactual the policy is asked about the
    recorded observations again: as recorded, which must give the recorded actions, and as the counterfactuals say. Exit
    status 1 if anything deviates.

    Example:
        vlasteer replay runs/fast --episode 3 --counterfactual fast=0 --counterfactual "prompt=move slowly"
    """

    run_folder: Annotated[Path, tyro.conf.arg(name="run", metavar="RUN"), tyro.conf.Positional]
    """Run folder, as rollout, drive or record made it."""
    episode: int = 0
    """Which episode (episode_index)."""
    robot: Literal["twin"] | None = None
    """Send a robot's recorded commands through the safety filter again, to a twin (a real arm: vlasteer drive only)."""
    reinfer: bool = False
    """Ask the policy again instead of moving, and compare its actions with the recorded ones."""
    counterfactual: tuple[str, ...] = ()
    """Also ask it otherwise: fast=0, fast=off, slow=2,fast=off, prompt=words; repeatable."""
    instruction: tuple[str, ...] = ()
    """The same as --counterfactual prompt=...; repeatable."""
    pack: str | None = None
    """Feature pack for features that the run did not steer; default: the run's, the checkpoint's, else found now."""
    policy: str | None = None
    """Where the checkpoint is now; default: where it was."""
    device: str | None = None
    """cpu, cuda, cuda:1; default: the run's. Another device or precision gives other roundings."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Precision of the weights in memory; default: the run's."""
    negative_control: bool = False
    """Allow neurons that cannot reach an action."""
    assets: str | None = None
    """Folder of the simulator's assets, for LIBERO."""
    out: str | None = None
    """Folder for the counterfactuals' numbers; default: replays/ in the run folder."""

    def run(self) -> int:
        """Repeat, compare, report."""
        from vlasteer.launch.counterfactual import parse_condition
        from vlasteer.recording.episode import RecordedEpisode
        from vlasteer.runs import Run

        given = [*self.counterfactual, *(f"prompt={words}" for words in self.instruction)]
        conditions = [parse_condition(expression) for expression in dict.fromkeys(given)]
        found = Run.load(self.run_folder)
        episode = RecordedEpisode.load(found.path, self.episode)
        facts = episode.facts
        print(
            f"Episode {self.episode} of {found.path}: {facts['world']}, task {facts['task']}, start {facts['start']}, "
            f"seed {facts['seed']}, {facts['arm']}; {facts['outcome']} after {len(episode)} steps"
        )
        with interruptible():
            if self.reinfer or conditions:
                return self._ask(found, episode, conditions)
            if found.config.get("robot"):
                return self._command(found, episode)
            if self.robot is not None:
                raise ConfigError(f"--robot {self.robot} was given for a simulation", expected="a run of a robot")
            return self._act(found, episode)

    # -- in the world --------------------------------------------------------------------------------------------------
    def _act(self, found: Run, episode: RecordedEpisode) -> int:
        from vlasteer.replay import act_again

        world = self._world(found, episode)
        try:
            with progress_bar("replay", "step") as progress:
                again = act_again(episode, world, progress)
        finally:
            world.close()
        print(f"states     {again.states}")
        print(f"executed   {again.executed}")
        if again.pictures[0]:
            print(f"pictures   {again.pictures[1]} of {again.pictures[0]} identical")
        same = again.recorded is again.again
        print(f"outcome    {again.again} after {again.made} steps, {'as' if same else f'{again.recorded}'} recorded")
        print("Reproduced exactly." if again.exact else "NOT reproduced: see where it deviates first.")
        return 0 if again.exact else 1

    def _world(self, found: Run, episode: RecordedEpisode) -> World:
        from vlasteer.registry import make_world

        env = found.config.get("env")
        if not env:
            raise InputError(
                f"{found.path} was not recorded in a simulation ({episode.facts['world']})",
                fix="Ask its policy again with --reinfer or --counterfactual",
            )
        recorded = dict(_facts(found).get("world") or {})
        options: dict[str, Any] = {name: recorded[name] for name in _WORLD_OPTIONS if recorded.get(name) is not None}
        if self.assets is not None:
            options["assets"] = self.assets
        return make_world(str(env), **options)

    # -- in the arm's driver -------------------------------------------------------------------------------------------
    def _command(self, found: Run, episode: RecordedEpisode) -> int:
        from vlasteer.launch import robot_replay

        exact = True
        for log in robot_replay.servo_logs(found.path, episode):
            count, difference = robot_replay.verify(log)
            exact &= not difference
            print(f"{log.relative_to(found.path)}: {difference or f'all {count} commands identical, bit for bit'}")
            if self.robot == "twin":
                wanted = robot_replay.recorded_commands(log)
                with robot_replay.twin_at(wanted[0]) as twin, progress_bar("twin", "target") as progress:
                    again = robot_replay.resend(twin, wanted, progress)
                print(
                    f"twin       {len(wanted)} targets sent; joints end {np.degrees(again.end_error_rad):.3f} deg from "
                    f"where they ended, commands at most {np.degrees(again.path_error_rad):.3f} deg off the path"
                )
                print(f"limited by {', '.join(again.reasons) or 'nothing'}")
                exact &= again.reproduced
        print("Reproduced." if exact else "NOT reproduced.")
        return 0 if exact else 1

    # -- before the policy ---------------------------------------------------------------------------------------------
    def _ask(self, found: Run, episode: RecordedEpisode, conditions: list[Condition]) -> int:
        from vlasteer.launch.counterfactual import Counterfactual
        from vlasteer.replay import ask_again
        from vlasteer.steering import steer

        policy = self._policy(found)
        steering = self._steering(found, policy, conditions)
        with (
            steer(policy, steering, negative_control=self.negative_control) as port,
            progress_bar("asking again", "call") as progress,
        ):
            asked = ask_again(policy, port, episode, conditions, progress=progress)
        print(f"asked      {len(episode.asked)} calls of {policy.name}; {len(asked.steps)} of {len(episode)} steps")
        print(f"actions    {asked.actions}")
        if len(asked.steps) < len(episode):
            print("           the others answer observations that were not recorded (drive: --lossless records them)")
        if asked.tokens[0]:
            print(f"tokens     identical in {asked.tokens[1]} of {asked.tokens[0]} calls")
        if asked.exact:
            print("The policy gave the recorded answers again, exactly.")
        else:
            print("The policy did NOT give the recorded answers again." + _excuse(found, episode))
        if conditions:
            result = Counterfactual(asked)
            print(f"\nWhat it asked for on the same {len(result.rows)} steps:\n{result.text()}\n")
            folder = self._folder(found, conditions)
            names = result.save(folder, f"{found.path.name}, episode {self.episode}: {episode.instructions[0]}")
            print(f"The numbers are in {folder}: {', '.join(names)}")
        return 0 if asked.exact else 1

    def _policy(self, found: Run) -> Policy:
        from vlasteer.launch.threads import settle_threads
        from vlasteer.registry import load_policy

        facts = _facts(found)
        name = self.policy or facts.get("policy")
        if not name:
            raise InputError(f"{found.path} was recorded without a policy", fix="Name one with --policy")
        options: dict[str, Any] = {
            key: found.config[key] for key in _POLICY_OPTIONS if found.config.get(key) is not None
        }
        if self.dtype is not None:
            options["dtype"] = self.dtype
        if found.config.get("env"):
            options["world"] = found.config["env"]
        policy = load_policy(str(name), device=self.device or facts.get("device"), **options)
        settle_threads(policy)
        wanted = found.config.get("checkpoint_hash")
        if wanted and policy.checkpoint_hash != wanted:
            raise ConfigError(
                f"{name} is another checkpoint ({policy.checkpoint_hash[:12]}) than the recorded one ({wanted[:12]})",
                fix="Say where that one is with --policy",
            )
        return policy

    def _steering(self, found: Run, policy: Policy, conditions: list[Condition]) -> Steering:
        """The run's knobs, and those that only the conditions name; all off."""
        from vlasteer.launch.options import load_pack
        from vlasteer.steering import FeaturePack, Steering
        from vlasteer.steering.description import restore

        terms = found.config.get("steering") or []
        served = getattr(policy, "pack", None)
        if isinstance(served, FeaturePack):  # the policy is elsewhere, and so are its neurons
            own = [Steering.of(served[t["feature"]], None, operator=t["operator"], scope=t["scope"]) for t in terms]
            steering = sum(own, start=Steering())
        else:
            steering = restore(terms, policy.anatomy) if terms else Steering()
        new = [name for condition in conditions for name in condition.knobs if name not in steering.names]
        new = list(dict.fromkeys(new))
        if new:
            beside = found.path / "features.json"
            use = beside.is_file() and not isinstance(served, FeaturePack)
            pack = load_pack(policy, self.pack or (str(beside) if use else None), new)
            if self.pack is None and not all(name in pack for name in new):
                pack = load_pack(policy, None, new)
            steering = sum((Steering.of(pack[name], None) for name in new), start=steering)
        return steering

    def _folder(self, found: Run, conditions: list[Condition]) -> Path:
        label = re.sub(r"[^\w.=,+-]+", "_", "+".join(condition.name for condition in conditions))[:80]
        parent = Path(self.out) if self.out else found.path / "replays"
        return parent / f"episode-{self.episode:06d}-{label}"


def _facts(found: Run) -> dict[str, Any]:
    return dict(found.starts[-1].get("facts") or {}) if found.starts else {}


def _excuse(found: Run, episode: RecordedEpisode) -> str:
    """What is known to change answers."""
    reasons = []
    if not episode.layout.lossless:
        reasons.append("the pictures were recorded with loss (--lossless keeps them exact)")
    if int(_facts(found).get("workers") or 1) > 1:
        reasons.append("it answered several worlds at once, which rounds otherwise")
    return f" Known reasons: {'; '.join(reasons)}." if reasons else ""
