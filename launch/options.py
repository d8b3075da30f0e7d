"""Options that several commands share, as mixins of their dataclasses, and how they become policies and steerings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from vlasteer.errors import ConfigError

if TYPE_CHECKING:
    from vlasteer.protocols import Policy
    from vlasteer.steering import FeaturePack, Steering


@dataclass(frozen=True, kw_only=True)
class PolicyOptions:
    """Which policy, and how it is loaded."""

    policy: str
    """Checkpoint folder, hub name such as openvla/openvla-7b, a shipped organism's name, or server: ws://host:port."""
    device: str | None = None
    """cpu, cuda, cuda:1; default: CUDA where there is one."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Precision of the weights in memory; default: float32 on the CPU, bfloat16 elsewhere."""
    unnorm_key: str | None = None
    """Which of the checkpoint's data-set statistics un-normalise its actions; default: by the environment's name."""
    convention: str | None = None
    """What the actions mean, for checkpoints that cannot be recognised, e.g. libero."""
    tokenizer: str | None = None
    """Folder or hub name with PaliGemma's tokenizer.json (Pi0, Pi0-FAST); default: the checkpoint's, then the hub's."""
    fast_tokenizer: str | None = None
    """Folder or hub name with the FAST codec (Pi0-FAST); default: the checkpoint's fast_tokenizer/, then the hub's."""
    token_file: str | None = None
    """File with the token that the server of --policy ws://... asks for."""

    def load_policy(self, **further: Any) -> Policy:
        """Load it; options that were not given are left to the policy kind."""
        from vlasteer.launch.threads import settle_threads
        from vlasteer.registry import load_policy

        chosen = {
            "unnorm_key": self.unnorm_key,
            "convention": self.convention,
            "tokenizer": self.tokenizer,
            "fast_tokenizer": self.fast_tokenizer,
            "token_file": self.token_file,
            **further,
        }
        given = {key: value for key, value in chosen.items() if value is not None}
        policy = load_policy(self.policy, device=self.device, dtype=self.dtype, **given)
        settle_threads(policy)
        return policy


@dataclass(frozen=True, kw_only=True)
class SteeringOptions:
    """How the policy is steered."""

    steer: tuple[str, ...] = ()
    """Feature and coefficient, e.g. fast=8 or slow=q0.99 (a quantile of its natural activation); repeatable."""
    pack: str | None = None
    """Feature pack (see `vlasteer find`); default: the checkpoint's features.json, else found now by concept word."""
    operator: Literal["set", "add", "scale", "ablate"] | None = None
    """What a coefficient does to a neuron's activation; default: as the feature says (set)."""
    scope: str | None = None
    """Where it acts: all, prefill, decode, image, text, step0-4 (denoising), or several joined by +."""
    negative_control: bool = False
    """Allow neurons that cannot reach an action (a free negative control)."""

    def parse_steering(self, policy: Policy) -> tuple[Steering, FeaturePack | None]:
        """The steering that was asked for, and the pack that its features are from (None without --steer)."""
        from vlasteer.steering import Steering
        from vlasteer.steering.value import parse_coefficient

        if not self.steer:
            if self.pack or self.operator or self.scope:
                raise ConfigError(
                    "--pack, --operator and --scope steer nothing by themselves", fix="Add --steer feature=coefficient"
                )
            return Steering(), None
        names = []
        for expression in self.steer:  # before features are looked for, which takes its time
            name, _, coefficient = expression.partition("=")
            parse_coefficient(coefficient)
            names.append(name.strip())
        pack = load_pack(policy, self.pack, names)
        return Steering.parse(list(self.steer), pack, operator=self.operator, scope=self.scope), pack


def load_pack(policy: Policy, path: str | None, names: list[str]) -> FeaturePack:
    """The pack at `path`, else the one in the checkpoint's folder, else features found now for the words `names`.

    A policy on a server brings the pack of what is mounted there, and takes no other.
    """
    from pathlib import Path

    from vlasteer.steering import FeaturePack

    if isinstance(served := getattr(policy, "pack", None), FeaturePack):
        if path is not None:
            raise ConfigError(f"--pack was given for the policy on {policy.name}", fix="Give --pack to vlasteer serve")
        return served
    if path is not None:
        return FeaturePack.load(path, policy.anatomy, policy.checkpoint_hash)
    beside = Path(policy.name).expanduser() / "features.json"
    if beside.is_file():
        pack = FeaturePack.load(beside, policy.anatomy, policy.checkpoint_hash)
        if all(name in pack for name in names):
            return pack
    from vlasteer.launch.find import find_features

    return find_features(policy, names)


def parse_indices(text: str, count: int, what: str) -> list[int]:
    """`0,2,5-7` or `all` as a list of indices below `count`, each once, in the order given.

    Raises:
        ConfigError: not of this form, or an index out of range.
    """
    if text.strip() == "all":
        return list(range(count))
    chosen: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            span = range(int(first), int(last if dash else first) + 1)
        except ValueError:
            raise ConfigError(
                f"{what} '{text}'", expected=f"indices such as 0,2,5-7, or all (0 to {count - 1})"
            ) from None
        if not span or span[0] < 0 or span[-1] >= count:
            raise ConfigError(f"{what} '{part.strip()}'", expected=f"indices from 0 to {count - 1}")
        chosen += [i for i in span if i not in chosen]
    return chosen
