"""One episode of one LIBERO task in MuJoCo, with cameras that render only when somebody will look.

A scene is built anew for every episode. robosuite's reset of a used one leaves traces: sampled properties pile up, and
with them the draws from numpy's global generator shift, from which the poses of fixtures come (they are not part of an
initial state). Built anew from a seeded generator, initial state, seed and actions determine all states and pixels.
That gives bit for bit what the benchmark's own `OffScreenRenderEnv` gives after a reset, in less time.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import pdb
import random
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.envs.libero.packages import load_domains, no_gl
from vlasteer.envs.libero.suites import Task
from vlasteer.errors import AssetsError, WorldError

CAMERAS = {"image": "agentview", "image2": "robot0_eye_in_hand"}
"""Names of the pictures (lerobot's, for LIBERO) and of the cameras that take them: over the table, and in the hand."""
STATE_NAMES: tuple[str, ...] = (
    *("eef_x", "eef_y", "eef_z", "eef_rx", "eef_ry", "eef_rz"),
    *("finger_left", "finger_right"),
)
RATE_HZ = 20
SETTLING = np.array([0.0] * 6 + [-1.0])
"""The action of the first 10 steps, during which what the initial state left hanging falls: no motion, gripper open."""
SETTLING_STEPS = 10
_PLACEMENT_TRIES = 20
_open: weakref.WeakSet[Simulation] = weakref.WeakSet()


class Simulation:
    """A built and settled scene.

    Args:
        task: which scene, and when it is solved.
        assets: complete folder of assets (`Assets.require`).
        initial_state: float64 [1 + nq + nv], a row of `suites.initial_states`.
        seed: of numpy's global generator while the scene is built, 0 to 2**32 - 1; its state is put back afterwards.
        resolution: height and width of the pictures.
        fast: no multisampling, no reflections. Twice as fast in software; pixels change by up to 3 of 255 on average at
            256 pixels, more at fewer. For tests.

    Raises:
        AssetsError: the assets do not belong to this version of LIBERO.
        WorldError: the objects cannot be placed, or there is no OpenGL to render with.
    """

    def __init__(
        self,
        task: Task,
        assets: Path,
        initial_state: NDArray[np.float64],
        *,
        seed: int = 0,
        resolution: int = 256,
        fast: bool = False,
    ) -> None:
        self._task = task
        domains = load_domains(assets)
        problem = importlib.import_module("libero.libero.envs.bddl_utils").get_problem_info(str(task.problem_file))
        scene = _scene_class(domains[problem["problem_name"]], fast)
        controller = importlib.import_module("robosuite").load_controller_config(default_controller="OSC_POSE")
        with _global_seed(seed), _no_debugger():
            self._scene = self._build(
                functools.partial(
                    scene,
                    str(task.problem_file),
                    robots=["Panda"],
                    controller_configs=controller,
                    initialization_noise=None,
                    use_camera_obs=True,
                    has_offscreen_renderer=True,
                    camera_names=list(CAMERAS.values()),
                    camera_heights=resolution,
                    camera_widths=resolution,
                    control_freq=RATE_HZ,
                    ignore_done=True,  # else it raises after 1000 steps; horizons are counted by the world
                )
            )
            self._begin(initial_state)
        _close_at_exit()
        _open.add(self)

    def _build(self, scene: Callable[[], Any]) -> Any:
        unplaced = importlib.import_module("robosuite.utils.errors").RandomizationError
        fatal = importlib.import_module("mujoco").FatalError
        for _ in range(_PLACEMENT_TRIES):  # LIBERO itself tries for ever
            try:
                return scene()
            except unplaced:
                continue
            except (ImportError, RuntimeError, fatal) as error:  # the GL context, by robosuite or by MuJoCo
                raise no_gl(error) from error
            except ValueError as error:  # MuJoCo's compiler: a file that it cannot read
                message = " ".join(str(error).split())
                raise AssetsError(f"{self._task.suite} task {self._task.index} cannot be built: {message}") from error
        raise WorldError(
            f"the objects of {self._task.suite} task {self._task.index} found no place in {_PLACEMENT_TRIES} tries",
            fix="Choose another seed",
        )

    def _begin(self, initial_state: NDArray[np.float64]) -> None:
        scene, model = self._scene, self._scene.sim.model
        if initial_state.shape != (1 + model.nq + model.nv,):
            raise AssetsError(
                f"{self._task.suite} task {self._task.index} has {model.nq} + {model.nv} joint numbers",
                expected=f"the {len(initial_state) - 1} of its initial states: are the assets of another version?",
            )
        # What the benchmark's reset does to a scene that is built already: hide the markers, take a first measurement.
        scene.visualize(vis_settings=dict.fromkeys(scene._visualizations, False))
        scene._get_observations(force_update=True)
        scene.sim.set_state_from_flattened(initial_state)
        scene.sim.forward()
        scene._check_success()
        scene._post_process()
        scene._update_observables(force=True)
        for step in range(SETTLING_STEPS):
            self.step(SETTLING, look=step == SETTLING_STEPS - 1)

    def step(self, action: NDArray[np.float64], *, look: bool) -> bool:
        """Execute float64 [7] for 1/20 s and return whether the task is solved.

        Robosuite measures, and renders, at the first of the 25 physics steps of a control step. What is seen after this
        is therefore about 48 ms old, as it is in the benchmark and in all data recorded with it.

        Args:
            look: whether to render; the cameras' place in the measuring schedule is the same either way.

        Raises:
            WorldError: the physics diverged.
        """
        self._scene.looking = look
        self._seen, _, solved, _ = self._scene.step(action)
        self._looked = look
        self._check_finite()
        return bool(solved)

    def _check_finite(self) -> None:
        """MuJoCo answers a divergence by silently putting everything back where it was at time 0."""
        mujoco = importlib.import_module("mujoco")
        kinds = mujoco.mjtWarning
        warnings = self._scene.sim.data._data.warning
        if any(warnings[kind].number for kind in (kinds.mjWARN_BADQPOS, kinds.mjWARN_BADQVEL, kinds.mjWARN_BADQACC)):
            raise WorldError(
                f"the physics of {self._task.suite} task {self._task.index} diverged",
                expected="finite positions, velocities and accelerations",
                fix="This is a fault of the simulation: leave the episode out",
            )

    @property
    def images(self) -> dict[str, NDArray[np.uint8]]:
        """uint8 [resolution, resolution, 3] by camera; empty when the last step did not look.

        Turned by 180 degrees, which is how OpenVLA and openpi were trained: MuJoCo delivers rows bottom first, so the
        pictures are upright but mirrored.
        """
        if not self._looked:
            return {}
        return {
            name: np.ascontiguousarray(self._seen[f"{camera}_image"][::-1, ::-1]) for name, camera in CAMERAS.items()
        }

    @property
    def state(self) -> NDArray[np.float64]:
        """float64 [8], see `STATE_NAMES`: end effector position (m) and rotation vector (rad), finger positions (m)."""
        seen = self._seen
        return np.concatenate(
            [seen["robot0_eef_pos"], rotation_vector(seen["robot0_eef_quat"]), seen["robot0_gripper_qpos"]]
        ).astype(np.float64)

    def close(self) -> None:
        """Free the scene and its OpenGL context. Idempotent."""
        if self._scene.sim is not None:
            self._scene.close()


def rotation_vector(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Axis times angle, float64 [3], of a unit quaternion [4] in the order x, y, z, w.

    The angle lies in [0, 2 pi]: the quaternion's sign is kept, as robosuite and the policies' training data have it.
    """
    w = np.clip(quaternion[3], -1.0, 1.0)
    sine = np.sqrt(1.0 - w * w)
    if sine == 0.0:
        return np.zeros(3)
    return quaternion[:3] * 2.0 * np.arccos(w) / sine


@functools.cache
def _close_at_exit() -> None:
    """Free what is open before mujoco takes the display away. It asks for that when its first context is made, and the
    last to ask is served first: hence from here, not from the top of the module.
    """
    atexit.register(lambda: [simulation.close() for simulation in list(_open)])


@functools.cache
def _scene_class(domain: type[Any], fast: bool) -> type[Any]:
    """LIBERO's scene class with a gate before each camera.

    robosuite's own switch (`set_enabled`) restarts the schedule of a sensor, so that later pictures are taken at
    another moment. Here the sensor goes on as ever; while nobody looks it is given a black picture that is never shown.
    """

    class Scene(domain):
        looking = False

        def _create_camera_sensors(self, *args: Any, **kwargs: Any) -> tuple[list[Any], list[str]]:
            sensors, names = super()._create_camera_sensors(*args, **kwargs)
            return [self._gated(sensor, kwargs["cam_h"], kwargs["cam_w"]) for sensor in sensors], names

        def _gated(self, render: Callable[[Any], Any], height: int, width: int) -> Callable[[Any], Any]:
            black = np.zeros((height, width, 3), np.uint8)

            @functools.wraps(render)  # carries the sensor's modality along
            def sensor(cache: Mapping[str, Any]) -> Any:
                return render(cache) if self.looking else black

            return sensor

        def _initialize_sim(self, *args: Any, **kwargs: Any) -> None:
            super()._initialize_sim(*args, **kwargs)
            if fast:  # the render context that is made next reads it
                self.sim.model.vis.quality.offsamples = 0

        def _reset_internal(self) -> None:
            super()._reset_internal()
            if fast:
                reflection = importlib.import_module("mujoco").mjtRndFlag.mjRND_REFLECTION
                self.sim._render_context_offscreen.scn.flags[reflection] = 0

    Scene.__name__ = domain.__name__  # LIBERO compares it with the problem's name
    return Scene


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    """LIBERO draws from the global generators: seed them for it, and put them back afterwards."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)


@contextmanager
def _no_debugger() -> Iterator[None]:
    """LIBERO opens the debugger where an object finds no place, and then waits for somebody to type."""
    unplaced = importlib.import_module("robosuite.utils.errors").RandomizationError

    def refuse(*_: Any, **__: Any) -> None:
        raise unplaced("an object finds no place")

    original, pdb.set_trace = pdb.set_trace, refuse
    try:
        yield
    finally:
        pdb.set_trace = original
