"""A policy, a world and a robot small enough to compute by hand, fitting the contracts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vlasteer.anatomy import Anatomy, Site, SiteKey, TokenBasis
from vlasteer.errors import InputError, WorldError
from vlasteer.passes import PassContext
from vlasteer.types import (
    EE_NAMES,
    ActionChunk,
    ActionKind,
    ActionSpec,
    EpisodeKey,
    Executed,
    Gripper,
    Observation,
    Outcome,
    Phase,
    RobotStatus,
)

HIDDEN, WIDTH, LAYERS, VOCABULARY, POSITIONS = 16, 32, 3, 60, 6
ACTION_IDS = tuple(range(50, 60))
WORDS = {"fast": 3, "slow": 4, "up": 5, "down": 6}

SPEC = ActionSpec(ActionKind.EE_DELTA, Gripper.MINUS_OPEN_PLUS_CLOSED, (0.05,) * 3 + (0.5,) * 3, 20.0, EE_NAMES)


class ToyFFN(nn.Module):
    """relu FFN; `down_proj` is where steering is mounted."""

    def __init__(self) -> None:
        super().__init__()
        self.up_proj = nn.Linear(HIDDEN, WIDTH, bias=False)
        self.down_proj = nn.Linear(WIDTH, HIDDEN, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(torch.relu(self.up_proj(x)))


class ToyModel(nn.Module):
    """Residual stack of FFNs with a cumulative mean as its only mixing, so that later positions see earlier ones."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ToyFFN() for _ in range(LAYERS))
        self.head = nn.Linear(HIDDEN, VOCABULARY, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x)
            x = x + 0.5 * x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None]
        return self.head(x)


class ToyPolicy:
    """One forward pass of six positions (text, image x3, text, decode); the action is read off the last logits."""

    kind = "toy"
    name = "toy"
    action_spec = SPEC
    cameras = ("image",)
    state_size = 3
    checkpoint_hash = "toy-hash"

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model = ToyModel().eval()
        self.context = PassContext(("text", "image", "decode"), max_rows=16, max_positions=16)
        self.kinds = torch.tensor([0, 1, 1, 1, 0, 2])
        self.asked: list[int] = []
        basis = TokenBasis(
            matrix=self.model.head.weight.detach(),
            norm_gain=torch.ones(HIDDEN),
            labels=lambda i: {v: k for k, v in WORDS.items()}.get(i, f"<{i}>"),
            pieces=lambda i: {v: f"▁{k}" for k, v in WORDS.items()}.get(i, f"<{i}>"),
            ids_of=lambda w: [WORDS[w]] if w in WORDS else [],
            action_ids=ACTION_IDS,
        )
        self.anatomy = Anatomy(
            model=self.model,
            sites=[Site(SiteKey("vlm", i), WIDTH, HIDDEN, f"layers.{i}") for i in range(LAYERS)],
            contexts={"vlm": self.context},
            token_basis=basis,
            probe=lambda: self.logits([self.example()], [0]),
        )

    def logits(self, observations: Sequence[Observation], rows: Sequence[int]) -> Tensor:
        """[batch, positions, vocabulary] of one forward pass."""
        self.context.begin_step()
        self.context.begin_pass(self.kinds, rows)
        inputs = []
        for observation in observations:
            generator = torch.Generator().manual_seed(int(observation.images["image"].sum()) % 2**31)
            x = torch.randn(POSITIONS, HIDDEN, generator=generator)
            if observation.state is not None:
                x[:, :3] += torch.from_numpy(observation.state[:3]).float()
            inputs.append(x)
        with torch.no_grad():
            return self.model(torch.stack(inputs))

    def act(self, observation: Observation, noise: NDArray[np.float32] | None = None) -> ActionChunk:
        return self.act_batch([observation], noise)[0]

    def act_batch(
        self,
        observations: Sequence[Observation],
        noise: NDArray[np.float32] | None = None,
        rows: Sequence[int] | None = None,
    ) -> list[ActionChunk]:
        rows = list(range(len(observations))) if rows is None else list(rows)
        self.asked.append(len(observations))
        last = self.logits(observations, rows)[:, -1].double().numpy()
        chunks = []
        for row, seen, values in zip(rows, observations, last, strict=True):
            actions = np.tanh(np.stack([values[:7], values[7:14]]))
            applied = self.context.applied(row)
            chunk = ActionChunk(actions, SPEC, actions, observed_at_s=seen.time_s, inference_s=0.01, applied=applied)
            chunks.append(chunk)
        return chunks

    def example(self, seed: int = 0) -> Observation:
        image = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        return Observation({"image": image}, "do it", np.zeros(3))


class ToyWorld:
    """A point that moves by the action; success when it has risen by 0.2 m."""

    name = "toy"
    tasks = ("rise", "rise slowly")
    starts = 5
    action_spec = SPEC
    cameras = ("image",)
    state_names = ("x", "y", "z")

    def __init__(self, horizon: int = 20, break_at: int | None = None) -> None:
        self.horizon, self.break_at = horizon, break_at
        self.looks: list[bool] = []
        self.closed = False

    @property
    def outcome(self) -> Outcome:
        if self._position[2] > 0.2:
            return Outcome.SUCCESS
        return Outcome.HORIZON if self._steps >= self.horizon else Outcome.RUNNING

    def reset(self, key: EpisodeKey) -> None:
        self._key, self._steps, self._look = key, 0, True
        self._position = np.random.default_rng([key.task, key.start, key.seed]).uniform(-0.1, 0.1, 3)

    def observe(self) -> Observation:
        image = np.full((8, 8, 3), self._steps % 256, np.uint8)
        images = {"image": image} if self._look else {}
        return Observation(images, self.tasks[self._key.task], self._position.copy(), self._steps / 20)

    def act(self, action: NDArray[np.float64], *, look: bool = True) -> NDArray[np.float64]:
        if self.break_at == self._steps:
            raise RuntimeError("the toy broke")
        self.looks.append(look)
        executed = np.clip(action, -1, 1)
        self._position = self._position + 0.05 * executed[:3]
        self._steps, self._look = self._steps + 1, look
        return executed

    def close(self) -> None:
        self.closed = True


class ToyClock:
    """Seconds that pass only when somebody sleeps; `real_s` of real time go by with each sleep, for other threads."""

    def __init__(self, real_s: float = 0.0) -> None:
        self.now, self.real_s = 0.0, real_s

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        time.sleep(self.real_s)


class ToyRobot(ToyWorld):
    """The toy world as a robot: it executes what was submitted, one action a period, as long as it is permitted.

    Letting go empties its queue. Time passes in `advance`, by the clock's `sleep`.
    """

    late_s = 2.0
    """Older chunks are refused."""

    def __init__(self, clock: ToyClock, horizon: int = 20) -> None:
        super().__init__(horizon)
        self.clock, self.period_s = clock, 1 / SPEC.rate_hz
        self.permitted = False
        self.refused_press = 0
        self.stops: list[str] = []
        self.submitted: list[tuple[float, int]] = []
        self.on_advance: Callable[[ToyRobot], None] = lambda _: None
        self._queue: list[NDArray[np.float64]] = []
        self._progress, self._speed, self._lock = 0.0, 1.0, threading.Lock()

    @property
    def status(self) -> RobotStatus:
        running = bool(self._queue) and self.permitted
        phase = Phase.STOPPED if self.stops else Phase.RUNNING if running else Phase.HOLDING
        reason = self.stops[0] if self.stops else ""
        return RobotStatus(
            phase, "normal", reason, False, 0.0, 20.0, float("nan"), np.zeros(6), np.zeros(6), 0.0,
            refused_press=self.refused_press,
        )  # fmt: skip

    def reset(self, key: EpisodeKey) -> None:
        super().reset(key)
        self.stops.clear()

    def observe(self) -> Observation:
        seen = super().observe()
        return Observation(seen.images, seen.instruction, seen.state, self.clock())

    def permit(self, held: bool, press: int = 0) -> None:
        with self._lock:
            self.permitted = held and not (press and press == self.refused_press)
            if not self.permitted:
                self._queue = []

    def submit(self, actions: NDArray[np.float64], observed_at_s: float, *, speed: float = 1.0) -> int:
        if not np.all(np.isfinite(actions)):
            raise InputError("the chunk is not finite")
        if self.stops:
            raise WorldError("the robot has stopped")
        age = self.clock() - observed_at_s
        if age > self.late_s:
            raise WorldError(f"the chunk is {age:.1f} s old")
        dropped = min(int(age / self.period_s + 1e-9), len(actions) - 1)
        with self._lock:
            self._queue, self._progress, self._speed = list(actions), float(dropped), speed
        self.submitted.append((observed_at_s, dropped))
        return dropped

    def advance(self) -> Executed | None:
        self.clock.sleep(self.period_s)
        self.on_advance(self)
        with self._lock:
            index = int(self._progress + 1e-9)
            if not self.permitted or self.stops or index >= len(self._queue):
                return None
            self._progress += self._speed
            executed = ToyWorld.act(self, self._queue[index] * self._speed)
            return Executed(executed, index, {"toy": 1.0})

    def act(self, action: NDArray[np.float64], *, look: bool = True) -> NDArray[np.float64]:
        self.submit(action[None], self.clock())
        done = self.advance()
        return np.zeros_like(action) if done is None else done.action

    def stop(self, reason: str) -> None:
        self.stops.append(reason)
        self._queue = []
