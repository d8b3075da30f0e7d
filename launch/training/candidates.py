"""Features that a card chooses among: found from a concept's word alone, by projection and by contrast.

The last layer is left out of both: what it writes is read by nothing but the output embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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

COEFFICIENTS: Mapping[str, tuple[float, ...]] = {
    "projection": (0.5, 1.0, 2.0, 4.0),
    "contrast": (0.5, 0.75, 1.0, 1.25, 1.5),
}
"""How a feature was found -> coefficients to choose from, ascending."""

MOST_FEATURES: Mapping[str, int] = {"projection": 2, "contrast": 4}
"""How a feature was found -> features to choose from, at most."""

_K = 6
_EPISODES = 16
_EVERY = 3


def projected(policy: Policy, concepts: Iterable[str]) -> dict[str, list[Feature]]:
    """Concept -> six neurons each in all layers and in the first half of them; fewer where none have such words."""
    found: dict[str, list[Feature]] = {concept: [] for concept in concepts}
    for depth, sites in _depths(policy, "early", "full"):
        projection = project(policy.anatomy, ProjectionOptions(), sites=sites)
        for concept, features in found.items():
            try:
                name = f"{concept} ({depth})"
                features.append(find_feature(policy.anatomy, concept, projection, FindOptions(k=_K), name=name))
            except ConceptError:
                continue
    return found


def contrasted(policy: Policy, concepts: Iterable[str], seen: list[Observation]) -> dict[str, list[Feature]]:
    """Concept -> dense features in the first layer and in all, against the opposite and against plain instructions,
    from what `seen` does to the policy."""
    lexicon = Lexicon.load()
    found: dict[str, list[Feature]] = {}
    for concept in concepts:
        found[concept] = []
        for depth, sites in _depths(policy, "first", "full"):
            layers = [site.key.layer for site in sites]
            for against in get_args(Against):
                pairs = paired_prompts(seen, lexicon.concept(concept), policy.anatomy, against=against)
                name = f"{concept} ({depth}; against {against})"
                found[concept].append(contrast_feature(policy, name, pairs, layers=layers))
    return found


def observations(policy: Policy, world: World, seed: int) -> list[Observation]:
    """What the unsteered policy sees at every third step of some held-out episodes of that seed, with held-out
    instructions."""
    convert = converter(policy.action_spec, world.action_spec)
    seen = []
    for key in held_out_keys(_EPISODES, seed):
        world.reset(key)
        step = 0
        while world.outcome is Outcome.RUNNING:
            now = replace(world.observe(), instruction=words_for(key, None))
            if step % _EVERY == 0:
                seen.append(now)
            world.act(convert(policy.act(now).actions)[0])
            step += 1
    return seen


def _depths(policy: Policy, *names: str) -> Iterator[tuple[str, tuple[Site, ...]]]:
    """Those of the names that stand for different layers, the shallowest first."""
    sites = policy.anatomy.stream_sites(VOCABULARY_STREAM)[:-1]
    ends = {"first": 1, "early": -(-len(sites) // 2), "full": len(sites)}
    taken: set[int] = set()
    for name in names:
        if ends[name] not in taken:
            taken.add(ends[name])
            yield name, sites[: ends[name]]
