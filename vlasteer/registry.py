"""Names to things: policies and worlds are found through entry points, so that other packages can add their own.

Groups: `vlasteer.policies` (modules that fit `PolicyFamily`), `vlasteer.envs` and `vlasteer.robots` (`WorldFamily`).
"""

from __future__ import annotations

from importlib.metadata import entry_points
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, cast

from vlasteer.checkpoints import resolve_checkpoint
from vlasteer.errors import CheckpointError, ConfigError, UnknownNameError
from vlasteer.protocols import Policy, PolicyFamily, World, WorldFamily

WORLD_GROUPS = ("vlasteer.envs", "vlasteer.robots")


def world_names() -> tuple[str, ...]:
    """Every world name that `make_world` accepts."""
    return tuple(name for family in _world_families() for name in family.names())


def make_world(name: str, **options: Any) -> World:
    """Build the world of that name; `options` are the world's own.

    Raises:
        UnknownNameError: no installed package offers it.
    """
    for family in _world_families():
        if name in family.names():
            return family.make(name, **options)
    raise UnknownNameError.among("environment", name, world_names())


def _world_families() -> list[WorldFamily]:
    points = [point for group in WORLD_GROUPS for point in entry_points(group=group)]
    return [cast(WorldFamily, point.load()) for point in sorted(points, key=lambda p: p.name)]


def load_policy(
    name: str | Path, *, device: str | None = None, dtype: str | None = None, self_test: bool = True, **options: Any
) -> Policy:
    """Load a policy from a folder, or from the hub by its name.

    Args:
        name: a checkpoint folder, a shipped organism's name, a hub name such as "openvla/openvla-7b", or a server's
            address such as ws://127.0.0.1:8000.
        device: "cpu", "cuda", "cuda:1"; default is CUDA where there is one.
        dtype: "float32", "bfloat16", "float16"; default is float32 on the CPU and bfloat16 elsewhere.
        self_test: prove that steering is live (five short forward passes).
        options: the policy kind's own, e.g. `unnorm_key`.

    Raises:
        CheckpointError: no such checkpoint, or one that cannot be used.
        ConfigError: an option that this kind of policy does not have.
    """
    points = sorted(entry_points(group="vlasteer.policies"), key=lambda p: p.name)
    families = {point.name: cast(PolicyFamily, point.load()) for point in points}
    for kind, family in families.items():
        recognises_name = getattr(family, "recognises_name", None)
        if recognises_name is not None and recognises_name(str(name)):
            _refuse_unknown(kind, family, options)
            return family.load(None, str(name), device=device, dtype=dtype, **options)  # whoever computes it tests it
    folder = resolve_checkpoint(str(name))
    for kind, family in families.items():
        if family.recognises(folder):
            _refuse_unknown(kind, family, options)
            policy = family.load(folder, str(name), device=device, dtype=dtype, **options)
            break
    else:
        raise CheckpointError(
            f"{folder} is no checkpoint of a known kind",
            expected=f"a config.json of one of: {', '.join(families) or 'none installed'}",
        )
    if self_test:
        from vlasteer.steering.selftest import self_test as prove

        prove(policy)
    return policy


def _refuse_unknown(kind: str, family: PolicyFamily, options: dict[str, Any]) -> None:
    parameters = signature(family.load).parameters
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    known = [name for name, parameter in parameters.items() if parameter.kind is Parameter.KEYWORD_ONLY]
    if unknown := [name for name in options if name not in known]:
        raise ConfigError(
            f"policies of kind '{kind}' have no option {', '.join(_flag(name) for name in unknown)}",
            expected=f"one of {', '.join(_flag(name) for name in known)}",
        )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
