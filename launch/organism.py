"""`vlasteer organism`: make a nano checkpoint from nothing, and the numbers of its card."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from vlasteer.errors import ConfigError
from vlasteer.launch.interruption import interruptible, interruptible_at_steps

_ONLY = {
    "train": ("seed", "recipe", "smoke", "resume", "workers", "device"),
    "card": ("policy", "episodes", "draw_episodes", "device"),
    "seeds": ("card",),
}


@dataclass(frozen=True, kw_only=True)
class Organism:
    """Make an organism (train), the numbers of its card (card), or a table of several cards (seeds).

    An organism is a nano policy in OpenVLA's or Pi0's format, trained on demonstrations of the tabletop world. The
    planted one is trained so that writing words into it steers it: its causality is planted. It shows that the tool
    works, and is no evidence about OpenVLA or Pi0. So is pi0. The natural one is trained on the same data without that.

    An interrupted training goes on with --resume, an interrupted card with the same command. Both OpenVLAs made in one
    folder share demonstrations and vision.

    Example:
        vlasteer organism train --recipe planted --seed 0 --out organism
        vlasteer organism card --policy organism/planted/checkpoint --out card
        vlasteer organism seeds --card card --card card1 --out seeds
    """

    what: Annotated[Literal["train", "card", "seeds"], tyro.conf.Positional]
    """train, card or seeds."""
    out: str
    """Folder for the results, made if absent. A full training takes about 1.3 GB, a card 30 MB."""
    seed: int = 0
    """train: seed of data, weights and batches."""
    recipe: Literal["planted", "natural", "pi0"] = "planted"
    """train: which kind."""
    smoke: bool = False
    """train: a small one in minutes, which learns something and can do nothing."""
    resume: bool = False
    """train: go on with what is in the folder."""
    workers: int | None = None
    """train: processes that render; default: as many as there are cores."""
    device: str | None = None
    """cpu, cuda; default: CUDA where there is one."""
    policy: str | None = None
    """card: checkpoint folder or shipped name."""
    episodes: int = 100
    """card: held-out episodes of a cell."""
    draw_episodes: int = 10
    """card: episodes of each of the 20 random draws."""
    card: tuple[str, ...] = ()
    """seeds: card.json of a training, or the folder that holds it; repeatable."""

    def run(self) -> int:
        """Do it."""
        self._check()
        with interruptible():
            return {"train": self._train, "card": self._card, "seeds": self._seeds}[self.what]()

    def _check(self) -> None:
        foreign = {name for names in _ONLY.values() for name in names} - set(_ONLY[self.what])
        for field in fields(self):
            if field.name in foreign and getattr(self, field.name) != field.default:
                option = field.name.replace("_", "-")
                raise ConfigError(f"--{option} is no option of 'vlasteer organism {self.what}'")
        if self.what == "card" and self.policy is None:
            raise ConfigError("--policy is missing", expected="a checkpoint folder or a shipped name")
        if self.what == "seeds" and not self.card:
            raise ConfigError("--card is missing", expected="card.json of every training")
        for name, least in (("seed", 0), ("episodes", 5), ("draw_episodes", 5), ("workers", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"--{name.replace('_', '-')} {value}", expected=f"at least {least}")
        if self.draw_episodes > self.episodes:
            raise ConfigError(f"--draw-episodes {self.draw_episodes}", expected=f"at most --episodes, {self.episodes}")

    def _train(self) -> int:
        from vlasteer.launch.training.recipe import Recipe
        from vlasteer.launch.training.train import default_workers, train
        from vlasteer.policies.weights import choose_device

        folder = Path(self.out).expanduser()
        if folder.is_dir() and any(folder.iterdir()) and not self.resume:
            raise ConfigError(
                f"{folder} is not empty", expected="a new folder", fix="Add --resume to go on with what is there"
            )
        recipe = Recipe(kind=self.recipe, seed=self.seed)
        with interruptible_at_steps() as check:
            checkpoint = train(
                folder,
                recipe.smoke() if self.smoke else recipe,
                device=choose_device(self.device),
                workers=self.workers or default_workers(),
                check=check,
            )
        print(f"The checkpoint is in {checkpoint}; its losses are drawn in {checkpoint.parent / 'curves.png'}")
        print(f"Try next: vlasteer organism card --policy {checkpoint} --out card")
        return 0

    def _card(self) -> int:
        from tqdm import tqdm

        from vlasteer.checkpoints import resolve_checkpoint
        from vlasteer.launch.threads import settle_threads
        from vlasteer.launch.training.card import CardOptions, evaluate, protocol
        from vlasteer.launch.training.card_text import write_card
        from vlasteer.launch.training.model_card import training_of, write_model_card
        from vlasteer.registry import load_policy
        from vlasteer.runs import RunFolder
        from vlasteer.studies.archive import MotionArchive

        chosen: dict[str, Any] = {"device": self.device} if self.device else {}
        policy = load_policy(str(self.policy), world="tabletop_transport", **chosen)
        settle_threads(policy)
        options = CardOptions(episodes=self.episodes, draw_episodes=self.draw_episodes)
        config = {"command": "organism card", "checkpoint_hash": policy.checkpoint_hash, **protocol(options)}
        with RunFolder.create_or_resume(self.out, config, facts={"policy": self.policy, "device": self.device}) as run:
            archive = MotionArchive(run.path / "episodes.jsonl")
            with (
                interruptible_at_steps() as check,
                tqdm(total=options.total, unit="episode", dynamic_ncols=True) as bar,
            ):

                def advance(count: int) -> None:
                    bar.update(count)
                    check()

                numbers = evaluate(policy, options, archive, advance)
            checkpoint = resolve_checkpoint(str(self.policy))
            if (training := training_of(checkpoint)) is not None:
                numbers["training"] = training
            path, text = write_card(run.path, numbers)
            readme = write_model_card(run.path, checkpoint, numbers)
        print(text)
        print(f"The numbers are in {path}" + (f", the model card in {readme}" if readme else ""))
        return 0

    def _seeds(self) -> int:
        from vlasteer.launch.training.seeds import read_cards, write_seeds

        path, text = write_seeds(Path(self.out).expanduser(), read_cards(self.card))
        print(text)
        print(f"The table is in {path}")
        return 0
