"""Features that a card chooses among: found from a concept's word alone, by projection and by contrast.

The last layer is left out of both: what it writes is read by nothing but the output embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import get_args

from vlasteer.anatomy import Site
from vlasteer.conventions import converter
from vlasteer.errors import ConceptError
from vlasteer.finding import FindOptions, Lexicon, find_feature
from vlasteer.finding.contrast import Against, contrast_feature, paired_prompts
from vlasteer.launch.training.rollouts import held_out_keys, words_for
from vlasteer.projection import VOCABULARY_STREAM, ProjectionOptions, project
from vlasteer.protocols import Policy, World
from vlasteer.steering import Feature
from vlasteer.types import Observation, Outcome

COEFFICIENTS: Mapping[str, tuple[float, ...]] = {"projection": (1.0, 2.0, 4.0), "contrast": (0.5, 0.75, 1.0, 1.25)}
"""How a feature was found -> coefficients to choose from."""

_K = 6
_EPISODES = 16
_STEPS = (0, 4, 8, 12)


def projected(policy: Policy, concepts: Iterable[str]) -> dict[str, list[Feature]]:
    """Concept -> six neurons each in all layers and in the first half of them; fewer where none have such words."""
    found: dict[str, list[Feature]] = {concept: [] for concept in concepts}
    for depth, sites in _depths(policy).items():
        projection = project(policy.anatomy, ProjectionOptions(), sites=sites)
        for concept, features in found.items():
            try:
                name = f"{concept} ({depth})"
                features.append(find_feature(policy.anatomy, concept, projection, FindOptions(k=_K), name=name))
            except ConceptError:
                continue
    return found


def contrasted(policy: Policy, concepts: Iterable[str], seen: list[Observation]) -> dict[str, list[Feature]]:
    """Concept -> dense features against the opposite and against plain instructions, from what `seen` does to the
    policy."""
    lexicon = Lexicon.load()
    layers = [site.key.layer for site in _depths(policy)["full"]]
    found: dict[str, list[Feature]] = {}
    for concept in concepts:
        found[concept] = []
        for against in get_args(Against):
            pairs = paired_prompts(seen, lexicon.concept(concept), policy.anatomy, against=against)
            name = f"{concept} (against {against})"
            found[concept].append(contrast_feature(policy, name, pairs, layers=layers))
    return found


def observations(policy: Policy, world: World, seed: int) -> list[Observation]:
    """What the unsteered policy sees in some held-out episodes of that seed, with held-out instructions."""
    convert = converter(policy.action_spec, world.action_spec)
    seen = []
    for key in held_out_keys(_EPISODES, seed):
        world.reset(key)
        for step in range(max(_STEPS) + 1):
            if world.outcome is not Outcome.RUNNING:
                break
            now = replace(world.observe(), instruction=words_for(key, None))
            if step in _STEPS:
                seen.append(now)
            world.act(convert(policy.act(now).actions)[0])
    return seen


def _depths(policy: Policy) -> dict[str, tuple[Site, ...]]:
    sites = policy.anatomy.stream_sites(VOCABULARY_STREAM)[:-1]
    return {"full": sites, "early": sites[: -(-len(sites) // 2)]}
