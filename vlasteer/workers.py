"""Worlds in processes of their own, so that several step at once.

The child builds its world by (factory, name, options) and serves one command at a time through a pipe. Every answer
carries the outcome and the newest observation, so that looking costs no further round trip.

A worker never outlives its parent, and never prints on the parent's standard output. Interruption (Ctrl-C) is the
parent's business alone: the child ignores it and ends when it is told to, or when its parent is gone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import VlasteerError, WorldError
from vlasteer.protocols import World
from vlasteer.registry import make_world
from vlasteer.types import ActionSpec, EpisodeKey, Observation, Outcome

Factory = Callable[..., World]
"""Called as `factory(name, **options)` in the child; importable there, since it travels by its name."""

_GRACE_S = 5.0
_DESCRIPTION = ("name", "tasks", "starts", "action_spec", "cameras", "state_names", "horizon")


@dataclass(frozen=True)
class _Answer:
    """What a child sends back for each command, and once for having built its world.

    With an error comes no observation: the previous one is still the newest.
    """

    value: Any = None
    outcome: Outcome = Outcome.RUNNING
    observation: Observation | None = None
    error: VlasteerError | None = None
    trace: str = ""


class RemoteWorld:
    """A `World` that lives in a child process; used like any other, or with the two halves of a call apart:

        for world, action in zip(worlds, actions):
            world.act_async(action)
        executed = [world.act_wait() for world in worlds]

    What the child's world raises is raised here: a `VlasteerError` as it is, anything else as a `WorldError` with the
    child's traceback as a note.

    Args:
        name: of the world.
        options: of the world; they are pickled.
        factory: makes the world in the child.
        patience_s: after this many seconds without an answer the child counts as hung and is killed. Building a world
            may include downloading its assets.
        start_method: "spawn" or "forkserver". Never "fork": OpenGL and thread pools do not survive it.

    Raises:
        WorldError: the child died or hung while it built the world.
        VlasteerError: what building raised.
    """

    name: str
    tasks: Sequence[str]
    starts: int
    action_spec: ActionSpec
    cameras: tuple[str, ...]
    state_names: tuple[str, ...]
    horizon: int
    facts: Mapping[str, Any]
    """What the world says for the record of a rollout; empty for a world that says nothing."""

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any] | None = None,
        *,
        factory: Factory = make_world,
        patience_s: float = 900.0,
        start_method: Literal["spawn", "forkserver"] = "spawn",
    ) -> None:
        self._launch(name, options or {}, factory, patience_s, start_method)
        self._finish_build()

    @classmethod
    def several(
        cls,
        count: int,
        name: str,
        options: Mapping[str, Any] | None = None,
        *,
        factory: Factory = make_world,
        patience_s: float = 900.0,
        start_method: Literal["spawn", "forkserver"] = "spawn",
    ) -> list[RemoteWorld]:
        """`count` equal worlds, built side by side; arguments and errors are those of the class. All or none."""
        worlds = []
        try:
            for _ in range(count):
                world = cls.__new__(cls)
                world._launch(name, options or {}, factory, patience_s, start_method)
                worlds.append(world)
            for world in worlds:
                world._finish_build()
        except BaseException:
            close_all(worlds)
            raise
        return worlds

    def _launch(
        self, name: str, options: Mapping[str, Any], factory: Factory, patience_s: float, start_method: str
    ) -> None:
        self.name, self._patience_s = name, patience_s
        self._outcome, self._observation = Outcome.RUNNING, None
        self._pending: str | None = "build"
        self._closed = False
        context: Any = multiprocessing.get_context(start_method)
        self._pipe, child_end = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_serve, args=(child_end, factory, name, dict(options)), name=f"world {name}", daemon=True
        )
        self._process.start()
        child_end.close()  # else the pipe would stay open when the child dies, and waiting for it would never end

    def _finish_build(self) -> None:
        try:
            description = self._finish("build")
        except BaseException:
            self.close()
            raise
        for field, value in description.items():
            setattr(self, field, value)

    @property
    def outcome(self) -> Outcome:
        """How the episode stood at the last answer."""
        return self._outcome

    @property
    def pid(self) -> int | None:
        """Process id of the child."""
        return self._process.pid

    def reset(self, key: EpisodeKey) -> None:
        """Begin an episode and wait until it stands."""
        self.reset_async(key)
        self.reset_wait()

    def reset_async(self, key: EpisodeKey) -> None:
        """Begin an episode; `reset_wait` must follow."""
        self._begin("reset", key)
        self._observation = None

    def reset_wait(self) -> None:
        """Wait for the reset that was begun."""
        self._finish("reset")

    def observe(self) -> Observation:
        """The observation that came with the last answer. Does not ask the child."""
        if self._observation is None:
            raise WorldError(f"{self.name} has no episode", fix="Call reset first")
        return self._observation

    def act(self, action: NDArray[np.float64], *, look: bool = True) -> NDArray[np.float64]:
        """Execute one action, wait, and return what was really executed."""
        self.act_async(action, look=look)
        return self.act_wait()

    def act_async(self, action: NDArray[np.float64], *, look: bool = True) -> None:
        """Send an action; `act_wait` must follow."""
        self._begin("act", np.asarray(action), look)

    def act_wait(self) -> NDArray[np.float64]:
        """Wait for the action that was sent and return what was really executed."""
        return self._finish("act")

    def close(self) -> None:
        """End the child and collect it; one that is busy or does not go by itself is killed. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._pending is None:
            try:
                self._pipe.send(("close",))
                self._process.join(_GRACE_S)
            except OSError:
                pass  # it is gone already
        self._pipe.close()
        if self._process.is_alive():
            self._process.kill()
        self._process.join()

    def __enter__(self) -> RemoteWorld:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, command: str, *arguments: Any) -> None:
        if self._closed:
            raise WorldError(f"the worker of {self.name} is closed", fix="Open another one")
        if self._pending is not None:
            raise WorldError(
                f"{command} was begun while {self._pending} is unfinished", fix=f"Call {self._pending}_wait"
            )
        try:
            self._pipe.send((command, *arguments))
        except OSError as error:
            raise self._died() from error
        self._pending = command

    def _finish(self, command: str) -> Any:
        if self._closed:
            raise WorldError(f"the worker of {self.name} is closed", fix="Open another one")
        if self._pending != command:
            raise WorldError(f"no {command} was begun", fix=f"Call {command}_async first")
        answer = self._receive()
        self._pending = None
        self._outcome = answer.outcome
        self._observation = answer.observation or self._observation
        if answer.error is not None:
            if answer.trace:
                answer.error.add_note(answer.trace)
            raise answer.error
        return answer.value

    def _receive(self) -> _Answer:
        # The child may have answered and died since: its pipe is looked at first.
        heard = wait([self._pipe, self._process.sentinel], self._patience_s)
        try:
            if self._pipe.poll():
                return self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        if heard:
            raise self._died()
        self.close()
        raise WorldError(
            f"the worker of {self.name} did not answer within {self._patience_s:g} s and was killed",
            expected=f"an answer to {self._pending}",
        )

    def _died(self) -> WorldError:
        """Collect the child; the error that says how it ended."""
        pid = self._process.pid
        self._process.join(_GRACE_S)
        code = self._process.exitcode
        self.close()
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
            fix = "If memory ran out, use fewer workers" if -code == signal.SIGKILL else "Its last words are above"
        else:
            how, fix = f"ended with status {code}", "Its last words are above"
        return WorldError(f"the worker of {self.name} (process {pid}) {how}", fix=fix)


def close_all(worlds: Sequence[World]) -> None:
    """Close every one of them, also when closing one of them fails."""
    failure = None
    for world in worlds:
        try:
            world.close()
        except Exception as error:  # noqa: BLE001  # raised below, after the others had their turn
            failure = error
    if failure is not None:
        raise failure


def _serve(pipe: Connection, factory: Factory, name: str, options: dict[str, Any]) -> None:
    """The child: build the world, then answer commands until told to end or until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.dup2(2, 1)  # the parent's standard output is for its results
    world: World | None = None
    try:
        try:
            world = factory(name, **options)
            described = {field: getattr(world, field) for field in _DESCRIPTION}
            pipe.send(_Answer({**described, "facts": dict(getattr(world, "facts", {}))}))
        except Exception as error:  # noqa: BLE001  # whatever it is, the parent reports it
            pipe.send(_failure(error, name, "while it was built"))
            return
        _answer_commands(pipe, world)
    except (EOFError, OSError):
        pass  # the parent is gone
    finally:
        if world is not None:
            world.close()


def _answer_commands(pipe: Connection, world: World) -> None:
    in_episode = False
    while True:
        command, *arguments = pipe.recv()
        if command == "close":
            return
        try:
            if command == "reset":
                in_episode = False
                value = world.reset(*arguments)
                in_episode = True
            else:
                action, look = arguments
                value = world.act(action, look=look)
            answer = _Answer(value, world.outcome, _portable(world.observe()))
        except VlasteerError as error:
            answer = _Answer(error=error, outcome=world.outcome if in_episode else Outcome.RUNNING)
        except Exception as error:  # noqa: BLE001  # whatever it is, the parent reports it
            answer = _failure(error, world.name, f"in {command}")
        pipe.send(answer)


def _failure(error: Exception, name: str, when: str) -> _Answer:
    if isinstance(error, VlasteerError):
        return _Answer(error=error)
    trace = "".join(traceback.format_exception(error)).rstrip()
    broken = WorldError(f"{name} failed {when}: {type(error).__name__}: {error}")
    return _Answer(outcome=Outcome.FAILED, error=broken, trace=trace)


def _portable(observation: Observation) -> Observation:
    return replace(observation, images=dict(observation.images))  # a mapping proxy cannot be pickled


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # from a thread, whatever the main one is busy with; a simulation has nothing to save
