"""`vlasteer contrast`: what the words of a concept change inside a policy, as a feature in a feature pack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vlasteer.errors import ConfigError
from vlasteer.launch.options import PolicyOptions, parse_indices
from vlasteer.launch.progress import progress_bar

if TYPE_CHECKING:
    from vlasteer.protocols import Policy
    from vlasteer.steering import Feature
    from vlasteer.types import Observation


@dataclass(frozen=True, kw_only=True)
class Contrast(PolicyOptions):
    """Find a feature as a difference: what the policy's activations do when a concept's words are in the instruction.

    It needs observations: a recorded run, or pictures with an instruction. Each is shown to the policy with a word of
    the concept behind its instruction, and without. Coefficient 1 adds the difference once, to every neuron by its own
    weight. Steer with 0.5 to 1.5, at first; the word in the prompt shows how much there is to reach.

    Example:
        vlasteer rollout --policy openvla-nano-natural --env tabletop_transport --episodes 2 --out runs/plain
        vlasteer contrast --policy openvla-nano-natural --concept slow --on runs/plain --out runs/slow.json
        vlasteer rollout --policy openvla-nano-natural --env tabletop_transport --pack runs/slow.json --steer slow=1 \
--paired --out runs/slow
    """

    concept: tuple[str, ...]
    """Any word, best one that the lexicon knows (see `vlasteer find --help`); repeatable."""
    on: str
    """Run folder, folder of pictures, or one picture: the observations."""
    instruction: str | None = None
    """The task in words, for pictures; for a run, in place of its own."""
    observations: int = 100
    """How many observations are used, evenly spread."""
    against: Literal["nothing", "opposite"] = "nothing"
    """What the other side of a pair says: the plain instruction, or a word of the opposite."""
    layers: str = "all"
    """Layers to steer in, such as 0 or 0-3; default: all that can reach an action."""
    k: int | None = None
    """Neurons to keep, those that change most for their spread; default: all of these layers."""
    stream: str | None = None
    """Part of the network: vlm (default), or expert (Pi0)."""
    rounds: int = 8
    """Times that differences are taken, each with what was found so far mounted; fewer where nothing changes."""
    lexicon: tuple[str, ...] = ()
    """JSON file with further concepts; repeatable."""
    name: str | None = None
    """Name of the feature; default: the concept."""
    out: str | None = None
    """Feature pack to write or extend; default: only show."""

    def run(self) -> int:
        """Read, compare, show, keep."""
        from vlasteer.launch.find import open_pack, show_and_keep
        from vlasteer.launch.natural import ObservationSource

        if self.name is not None and len(self.concept) > 1:
            raise ConfigError("--name names one feature", fix="Give one --concept, or leave --name out")
        if self.observations < 1:
            raise ConfigError(f"--observations {self.observations}", expected="at least 1")
        source = ObservationSource(Path(self.on).expanduser(), self.instruction)
        policy = self.load_policy(world=source.world)
        pack = open_pack(policy, self.out)
        seen = source.read(policy.cameras, self.observations, state_size=policy.state_size)
        found = [self._find(policy, concept, seen) for concept in dict.fromkeys(self.concept)]
        show_and_keep(found, pack, self.out, coefficient=1)
        return 0

    def _find(self, policy: Policy, concept: str, seen: Sequence[Observation]) -> Feature:
        from vlasteer.finding import Lexicon
        from vlasteer.finding.contrast import contrast_feature, paired_prompts

        pairs = paired_prompts(seen, Lexicon.load(*self.lexicon).concept(concept), policy.anatomy, against=self.against)
        stream = policy.anatomy.streams[0] if self.stream is None else self.stream
        layers = None
        if self.layers != "all":
            layers = parse_indices(self.layers, len(policy.anatomy.stream_sites(stream)), "--layers")
        with progress_bar(f"contrast of {concept}", " observations") as progress:
            return contrast_feature(
                policy,
                self.name or concept,
                pairs,
                k=self.k,
                layers=layers,
                stream=stream,
                rounds=self.rounds,
                progress=progress,
            )
