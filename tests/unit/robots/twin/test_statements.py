"""Programs that are straight lines of calls."""

from __future__ import annotations

import numpy as np
import pytest
from twin_bench import Bench

from vlasteer.robots.twin.states import RuntimeState
from vlasteer.robots.twin.urscript import Upload


def run_script(bench: Bench, body: str) -> bool:
    return bench.controller.load(Upload("custom", f"def custom():\n{body}end\n"), "test")


def test_a_straight_program_runs_to_its_end() -> None:
    bench = Bench()
    body = "\twrite_output_integer_register(0, 1)\n\tmovej([0.1,-1.5,1.5,-1.5,-1.5,0],a=2,v=1)\n\tsleep(0.5)\n"
    body += "\tset_digital_out(2, True)\n\tset_tool_digital_out(1, True)\n\twrite_output_float_register(3, 2.5)\n"
    assert run_script(bench, body + "\twrite_output_integer_register(0, 2)\n")
    bench.until(lambda: bench.controller.runtime_state == RuntimeState.STOPPED)
    io = bench.controller.io
    np.testing.assert_allclose(bench.q, [0.1, -1.5, 1.5, -1.5, -1.5, 0])
    assert (io.int_out[0], io.float_out[3], io.digital_out) == (2, 2.5, 1 << 2 | 1 << 17)


@pytest.mark.parametrize(
    ("body", "starts"),
    [
        ("\tdance()\n", False),
        ("\tx = 3\n", False),
        ("\tmovej([1,2,3])\n", True),
        ("\tmovej(p[9,0,0,0,0,0])\n", True),
        ("\twrite_output_integer_register(48, 1)\n", True),
        ("\tset_digital_out(-1, True)\n", True),
        ("\tset_tool_digital_out(2, True)\n", True),
        ('\tsleep("long")\n', True),
        ("\tmovej([0,0,0,0,0,0],v=True)\n", True),
    ],
)
def test_bad_programs_do_not_start_or_end_with_a_reason(body: str, starts: bool) -> None:
    bench = Bench()
    assert run_script(bench, body) == starts
    bench.run(0.1)
    assert bench.controller.runtime_state == RuntimeState.STOPPED
    reason = bench.events("program")[-2]["why"] if starts else bench.events("script")[-1]["why"]
    assert reason not in ("", "ended")


def test_register_values_stay_within_32_bits() -> None:
    bench = Bench()
    run_script(bench, "\twrite_output_integer_register(0, 1e30)\n\twrite_output_integer_register(1, -1e30)\n")
    bench.run(0.1)
    assert bench.controller.io.int_out[:2] == [2**31 - 1, -(2**31)]
