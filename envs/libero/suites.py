"""What LIBERO's suites consist of: tasks, instructions, horizons and initial states, read from the installed package.

Source: Liu et al., "LIBERO: Benchmarking Knowledge Transfer for Lifelong Robot Learning" (NeurIPS 2023); horizons as in
OpenVLA's evaluation (the longest training demonstration of each suite, rounded up).
"""

from __future__ import annotations

import functools
import pickle
import re
import runpy
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlasteer.envs.libero.packages import libero_folder
from vlasteer.errors import ConfigError, UnknownNameError

HORIZONS = {"libero_spatial": 220, "libero_object": 280, "libero_goal": 300, "libero_10": 520, "libero_90": 400}
"""Suites and their step limits. lerobot gives libero_spatial 280: pass `horizon=280` for that."""
STARTS = 50
"""Initial states that the benchmark provides per task."""


@dataclass(frozen=True)
class Task:
    """One task of a suite.

    Attributes:
        suite: e.g. "libero_goal".
        index: place in the suite, the benchmark's order.
        name: the task's file name without its ending.
        instruction: the words that policies are given; derived from the name, as the benchmark does.
        problem_file: its scene and goal, in BDDL.
        states_file: its initial states.
    """

    suite: str
    index: int
    name: str
    instruction: str
    problem_file: Path
    states_file: Path


@functools.cache
def tasks_of(suite: str) -> tuple[Task, ...]:
    """The tasks of a suite: 90 for libero_90, 10 for the others.

    Raises:
        UnknownNameError: no such suite.
        MissingDependencyError: LIBERO is not installed.
    """
    if suite not in HORIZONS:
        raise UnknownNameError.among("LIBERO suite", suite, HORIZONS)
    package = libero_folder()
    # The table's own module is plain data; the package around it imports torch and prints on standard output.
    table = runpy.run_path(str(package / "benchmark" / "libero_suite_task_map.py"))["libero_task_map"]
    return tuple(
        Task(
            suite=suite,
            index=index,
            name=name,
            instruction=_instruction(name),
            problem_file=package / "bddl_files" / suite / f"{name}.bddl",
            states_file=package / "init_files" / suite / f"{name}.pruned_init",
        )
        for index, name in enumerate(table[suite])
    )


def _instruction(name: str) -> str:
    """LIBERO-100's names begin with a scene (KITCHEN_SCENE3_turn_on_the_stove) that is not part of the instruction."""
    return re.sub(r"^[A-Z_]+SCENE\d+_", "", name).replace("_", " ")


def initial_states(task: Task) -> NDArray[np.float64]:
    """float64 [50, 1 + nq + nv]: time, joint positions and velocities of the simulation, one row per initial state.

    Raises:
        ConfigError: the installed file is not what the benchmark ships.
    """
    try:
        with zipfile.ZipFile(task.states_file) as archive:
            name = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
            with archive.open(name) as file:
                states = np.asarray(_ArrayUnpickler(file).load(), dtype=np.float64)
    except (OSError, StopIteration, zipfile.BadZipFile, pickle.UnpicklingError, ValueError) as error:
        raise ConfigError(
            f"{task.states_file} cannot be read ({error})",
            expected="LIBERO's initial states",
            fix="Reinstall hf-libero",
        ) from error
    if states.ndim != 2 or len(states) != STARTS:
        raise ConfigError(f"{task.states_file} holds an array of shape {states.shape}", expected=f"[{STARTS}, n]")
    return states


class _ArrayUnpickler(pickle.Unpickler):
    """Reads a pickled numpy array and refuses to build anything else, so that a file of states can run no code."""

    _ALLOWED = frozenset({("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")})

    def find_class(self, module_name: str, global_name: str, /) -> object:
        if (module_name, global_name) in self._ALLOWED:
            return super().find_class(module_name, global_name)
        if module_name in {"numpy.core.multiarray", "numpy._core.multiarray"} and global_name == "_reconstruct":
            return _reconstruct
        raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}, which no array needs")


# numpy 1 and 2 keep this function in different places; an array's own recipe names it in both.
_reconstruct = np.zeros(0).__reduce__()[0]
