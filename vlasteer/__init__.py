"""See inside vision-language-action policies and steer them while the robot moves.

Imports point one way only (`lint-imports` enforces it):

    errors, types  <-  protocols  <-  the rest of the core  <-  runtime  <-  controller
    the core       <-  envs, robots, policies (which never import each other)
    everything     <-  launch

The core never imports a simulator, a robot or a model class; `registry` finds those through entry points.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlasteer.errors import VlasteerError
    from vlasteer.registry import load_policy, make_world
    from vlasteer.steering import Feature, FeaturePack, Steering, steer
    from vlasteer.types import ActionChunk, EpisodeKey, Observation, Outcome

__version__ = "0.1.0"

_HOMES = {
    "VlasteerError": "errors",
    "load_policy": "registry",
    "make_world": "registry",
    "Feature": "steering",
    "FeaturePack": "steering",
    "Steering": "steering",
    "steer": "steering",
    "ActionChunk": "types",
    "EpisodeKey": "types",
    "Observation": "types",
    "Outcome": "types",
}

__all__ = [
    "ActionChunk",
    "EpisodeKey",
    "Feature",
    "FeaturePack",
    "Observation",
    "Outcome",
    "Steering",
    "VlasteerError",
    "__version__",
    "load_policy",
    "make_world",
    "steer",
]


def __getattr__(name: str) -> Any:
    # Resolved on first use: `vlasteer --help` must not wait for torch.
    if name not in _HOMES:
        raise AttributeError(f"module 'vlasteer' has no attribute '{name}'")
    return getattr(import_module(f"vlasteer.{_HOMES[name]}"), name)
