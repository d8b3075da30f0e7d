"""Putting a steering inside a policy, and taking it out again.

    with steer(policy, steering) as port:
        port.set("fast", 8.0)      # effective from the next control step on
        policy.act(observation)

While the context is open, the touched FFNs read their edits from buffers in front of `down_proj`. A new coefficient is
a
write into these buffers: nothing is rebuilt and a compiled graph is not recompiled. Leaving restores the very modules
that were there before.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from vlasteer.anatomy import Anatomy, Site
from vlasteer.errors import SteeringError
from vlasteer.passes import PassContext
from vlasteer.protocols import Policy
from vlasteer.steering.tables import SitePlan, plan
from vlasteer.steering.value import Steering, check_coefficient


class SteeredProjection(nn.Module):
    """`down_proj` with an affine edit of a few columns of its input in front of it.

    Args:
        linear: the projection that it stands in for; called unchanged.
        context: rows and position kinds of the running pass.
        neurons: int64 [n], columns that may be edited.
        rows: number of table rows (1 serves a batch of any size).
    """

    columns: Tensor
    active: Tensor
    gain: Tensor
    bias_: Tensor

    def __init__(self, linear: nn.Linear, context: PassContext, neurons: np.ndarray, rows: int) -> None:
        super().__init__()
        self.linear = linear
        self.context = context
        device, dtype = linear.weight.device, linear.weight.dtype
        shape = (rows, len(context.kind_names), len(neurons))
        self.register_buffer("columns", torch.from_numpy(neurons).to(device), persistent=False)
        self.register_buffer("active", torch.zeros(shape, dtype=torch.bool, device=device), persistent=False)
        self.register_buffer("gain", torch.ones(shape, dtype=dtype, device=device), persistent=False)
        self.register_buffer("bias_", torch.zeros(shape, dtype=dtype, device=device), persistent=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """`linear` of the edited `hidden` [batch, positions, d_ff]."""
        batch, positions, _ = hidden.shape
        rows = self.context.rows[:batch, None]
        kinds = self.context.kinds[None, :positions]
        picked = hidden[..., self.columns]
        edited = torch.addcmul(self.bias_[rows, kinds], self.gain[rows, kinds], picked)
        edited = torch.where(self.active[rows, kinds], edited, picked)
        return self.linear(hidden.index_copy(-1, self.columns, edited))

    @property
    def weight(self) -> Tensor:
        """The projection's weight, for code that reads it."""
        return self.linear.weight

    @property
    def bias(self) -> Tensor | None:
        """The projection's bias, for code that reads it."""
        return self.linear.bias


class Port:
    """The handle on a mounted steering. `set` works from any thread; changes take effect at the next control step."""

    def __init__(self, steering: Steering, rows: int, modules: Sequence[tuple[SitePlan, SteeredProjection]]) -> None:
        self.steering = steering
        self.rows = rows
        self._modules = modules
        self._lock = threading.Lock()
        self._knob = {name: i for i, name in enumerate(steering.names)}
        start = [term.factor for term in steering]
        self._staged: list[list[float | None]] = [list(start) for _ in range(rows)]
        self._applied: list[list[float | None]] = [[None] * len(start) for _ in range(rows)]
        self.commit()

    @property
    def names(self) -> tuple[str, ...]:
        """Knob names."""
        return self.steering.names

    def set(self, name: str, value: float | None, row: int | None = None) -> None:
        """Stage a coefficient, for one row or for all; None turns the knob off.

        For a term mounted with a quantile the value is the factor in front of the quantile.

        Raises:
            UnknownNameError: no such knob.
            SteeringError: NaN or infinite, or no such row.
        """
        knob = self._knob[self.steering.term(name).name]
        if value is not None:
            value = check_coefficient(value)
        if row is not None and not 0 <= row < self.rows:
            raise SteeringError(f"steering row {row}", expected=f"0 to {self.rows - 1}")
        with self._lock:
            for target in self._staged if row is None else [self._staged[row]]:
                target[knob] = value

    def set_all(self, values: Mapping[str, float | None], row: int | None = None) -> None:
        """Stage several coefficients; a concurrent commit takes all of them or none."""
        with self._lock:
            staged = [list(r) for r in self._staged]
        for name, value in values.items():
            knob = self._knob[self.steering.term(name).name]
            checked = None if value is None else check_coefficient(value)
            for target in staged if row is None else [staged[row]]:
                target[knob] = checked
        with self._lock:
            self._staged = staged

    def applied(self, row: int = 0) -> dict[str, float | None]:
        """Coefficient of every knob as the model has it now (None: off)."""
        return dict(zip(self.names, self._applied[row if self.rows > 1 else 0], strict=True))

    def commit(self) -> None:
        """Write what was staged into the model. The policy calls this at every control step."""
        with self._lock:
            staged = [list(r) for r in self._staged]
        changed = [r for r in range(self.rows) if staged[r] != self._applied[r]]
        if not changed:
            return
        for site_plan, module in self._modules:
            self._write(site_plan, module, staged, changed)
        self._applied = staged

    def _write(
        self, site_plan: SitePlan, module: SteeredProjection, staged: list[list[float | None]], changed: list[int]
    ) -> None:
        rows = [
            r
            for r in changed
            if any(
                new != old and site_plan.depends_on(k)
                for k, (new, old) in enumerate(zip(staged[r], self._applied[r], strict=True))
            )
        ]
        if not rows:
            return
        shape = (len(rows), site_plan.kinds, len(site_plan.neurons))
        active, gain, bias = np.zeros(shape, bool), np.ones(shape, np.float32), np.zeros(shape, np.float32)
        for i, row in enumerate(rows):
            site_plan.fill(staged[row], active[i], gain[i], bias[i])
        # A slice copy keeps the buffers' addresses, which captured graphs hold.
        where = slice(None) if len(rows) == self.rows else torch.tensor(rows)
        for buffer, values in ((module.active, active), (module.gain, gain), (module.bias_, bias)):
            buffer[where] = torch.from_numpy(values).to(buffer.device, buffer.dtype)


@contextmanager
def steer(
    policy: Policy, steering: Steering | Sequence[Steering], *, rows: int = 1, negative_control: bool = False
) -> Iterator[Port]:
    """Mount a steering in a policy.

    Args:
        policy: must not be compiled yet; compile it inside the context.
        steering: what to mount. A sequence mounts row b's own configuration: knobs are the union of all names, and row
            b has those that its steering does not name turned off.
        rows: with a single steering, how many rows of a batch can be set independently. 1: all rows share one setting.
        negative_control: allow neurons that cannot reach an action (see `Site.reaches_action`).

    Yields:
        The port through which coefficients are changed.

    Raises:
        SteeringError: the policy is compiled, or already steered, or the steering does not fit it.
    """
    per_row = None if isinstance(steering, Steering) else tuple(steering)
    union = _union(per_row) if per_row is not None else steering
    assert isinstance(union, Steering)
    rows = len(per_row) if per_row is not None else rows
    # A policy whose model is elsewhere brings its own port.
    mounting = getattr(policy, "steered", partial(_mounted, policy))
    with mounting(union, rows, negative_control) as port:
        for row, own in enumerate(per_row or ()):
            factors = {term.name: term.factor for term in own}
            port.set_all({name: factors.get(name) for name in union.names}, row=row)
        port.commit()
        yield port


@contextmanager
def _mounted(policy: Policy, steering: Steering, rows: int, negative_control: bool) -> Iterator[Port]:
    anatomy = policy.anatomy
    _refuse_compiled(anatomy.model)
    if any(context.port_values is not None for context in anatomy.contexts.values()):
        raise SteeringError(
            "the policy is steered already", fix="Leave the other steer(...) context first, or add the steerings"
        )
    plans = plan(anatomy, steering, negative_control=negative_control)
    with ExitStack() as stack:
        modules = []
        for site_plan in plans.values():
            modules.append((site_plan, _mount(anatomy, site_plan, rows, stack)))
        port = Port(steering, rows, modules)
        for context in anatomy.contexts.values():
            context.set_steering_rows(rows)
            stack.callback(context.set_steering_rows, 1)
            context.port_values = port.applied
            stack.callback(setattr, context, "port_values", None)
        stack.callback(next(iter(anatomy.contexts.values())).on_step(port.commit))
        stack.callback(_uncompile, anatomy.model)
        yield port


def _mount(anatomy: Anatomy, site_plan: SitePlan, rows: int, stack: ExitStack) -> SteeredProjection:
    site: Site = site_plan.site
    mlp = anatomy.mlp(site)
    original = mlp.down_proj
    assert isinstance(original, nn.Linear)
    module = SteeredProjection(original, anatomy.contexts[site.key.stream], site_plan.neurons, rows)
    module.train(original.training)
    mlp.down_proj = module
    stack.callback(setattr, mlp, "down_proj", original)
    return module


def _union(steerings: Sequence[Steering]) -> Steering:
    total = Steering()
    for steering in steerings:
        for term in steering:
            if term.name not in total.names:
                total = total + Steering([term])
            elif (other := total.term(term.name)) and (other.feature, other.operator, other.scope) != (
                term.feature,
                term.operator,
                term.scope,
            ):
                raise SteeringError(
                    f"knob '{term.name}' means different things in different rows",
                    expected="one feature, operator and scope per name",
                    fix="Rename one: feature.renamed('...')",
                )
    return total


def _refuse_compiled(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, torch._dynamo.OptimizedModule) or module._compiled_call_impl is not None:
            raise SteeringError(
                f"module '{name or type(model).__name__}' was compiled before mounting: it would ignore the steering",
                fix="Compile inside the context: with steer(policy, ...) as port: policy.compile()",
            )


def _uncompile(model: nn.Module) -> None:
    # A graph that was compiled inside the context reads the buffers of modules that are about to go.
    for module in model.modules():
        module._compiled_call_impl = None
