"""Tasks, instructions, horizons and initial states are the benchmark's."""

from __future__ import annotations

import importlib
import io
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vlasteer.envs.libero import make, names
from vlasteer.envs.libero.packages import load_domains
from vlasteer.envs.libero.suites import HORIZONS, STARTS, Task, initial_states, tasks_of
from vlasteer.errors import ConfigError, UnknownNameError


def test_suites_and_horizons_are_the_benchmarks() -> None:
    assert names() == ("libero_spatial", "libero_object", "libero_goal", "libero_10", "libero_90")
    assert tuple(HORIZONS.values()) == (220, 280, 300, 520, 400)
    assert [len(tasks_of(suite)) for suite in names()] == [10, 10, 10, 10, 90]


def test_tasks_are_those_of_the_package_in_its_order(tmp_path: Path) -> None:
    load_domains(tmp_path)  # prepares the import
    table = importlib.import_module("libero.libero.benchmark").task_maps
    for suite in names():
        expected = [(task.name, task.language, task.bddl_file, task.init_states_file) for task in table[suite].values()]
        found = [(t.name, t.instruction, t.problem_file.name, t.states_file.name) for t in tasks_of(suite)]
        assert found == expected
        assert all(task.problem_file.is_file() for task in tasks_of(suite))


def test_initial_states_of_all_tasks_are_read_without_torch_as_torch_reads_them() -> None:
    for suite in names():
        for task in tasks_of(suite):
            states = initial_states(task)
            assert states.shape[0] == STARTS
            assert np.isfinite(states).all()
            if task.index % 10 == 0:
                np.testing.assert_array_equal(states, torch.load(task.states_file, weights_only=False))


def test_an_unknown_suite_names_the_closest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'libero_goal'"):
        make("libero_goals")
    with pytest.raises(UnknownNameError, match="Did you mean 'libero_10'"):
        tasks_of("libero10")


class _RunsCode:
    def __reduce__(self) -> tuple:
        return (print, ("code of the file ran",))


def _states_file(folder: Path, content: object) -> Task:
    path = folder / "states.pruned_init"
    data = io.BytesIO()
    pickle.dump(content, data)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data.getvalue())
    return replace(tasks_of("libero_goal")[0], states_file=path)


def test_a_states_file_cannot_run_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=r"asks for builtins\.print"):
        initial_states(_states_file(tmp_path, _RunsCode()))
    assert "code of the file ran" not in capsys.readouterr().out


def test_a_states_file_of_another_shape_is_refused(tmp_path: Path) -> None:
    good = np.arange(STARTS * 3.0).reshape(STARTS, 3)
    np.testing.assert_array_equal(initial_states(_states_file(tmp_path, good)), good)
    with pytest.raises(ConfigError, match=r"\(7, 3\)"):
        initial_states(_states_file(tmp_path, good[:7]))


def test_a_truncated_states_file_is_refused(tmp_path: Path) -> None:
    task = _states_file(tmp_path, np.zeros((STARTS, 3)))
    task.states_file.write_bytes(task.states_file.read_bytes()[:100])
    with pytest.raises(ConfigError, match="cannot be read"):
        initial_states(task)
