"""Options of the commands that read value vectors as tokens, and how they become a projection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vlasteer.launch.options import PolicyOptions
from vlasteer.launch.progress import progress_bar

if TYPE_CHECKING:
    from vlasteer.finding import Lexicon
    from vlasteer.projection import Projection, ProjectionOptions
    from vlasteer.protocols import Policy


@dataclass(frozen=True, kw_only=True)
class ReadingOptions(PolicyOptions):
    """How value vectors are read as tokens."""

    fold_norm: bool = False
    """Multiply value vectors by the gain of the final norm, as the output head sees them (the paper does not)."""
    centre: bool = False
    """Subtract each neuron's mean score over the vocabulary, so that scores of different neurons compare."""
    drop: Literal["nothing", "undefined", "rare"] = "nothing"
    """Tokens that never count: undefined ones (padding), or those and the hardly trained ones."""
    lexicon: tuple[str, ...] = ()
    """JSON file with further concepts, synonyms, antonyms and stop words; repeatable."""

    def load_lexicon(self) -> Lexicon:
        """The built-in lexicon with the files of --lexicon."""
        from vlasteer.finding import Lexicon

        return Lexicon.load(*self.lexicon)

    def project(self, policy: Policy, top_k: int) -> Projection:
        """The policy's projection with `top_k` tokens per neuron, kept in the cache."""
        from vlasteer.projection import ProjectionOptions

        return project_policy(policy, ProjectionOptions(top_k, self.fold_norm, self.centre, self.drop))


def project_policy(policy: Policy, options: ProjectionOptions) -> Projection:
    """The policy's projection, from the cache or made now under a progress bar."""
    from vlasteer.artefacts import load_or_project

    with progress_bar("projection", " neurons") as progress:
        return load_or_project(policy.anatomy, options, checkpoint_hash=policy.checkpoint_hash, progress=progress)
