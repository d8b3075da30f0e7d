"""Scripts as they come over the wire: cut into programs, read where they are simple, refused where they are not."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlasteer.robots.twin.urscript import (
    MAX_UPLOAD,
    Call,
    Pose,
    ScriptSyntaxError,
    Upload,
    UploadReader,
    parse_call,
)

PROGRAM = 'def one():\n\tmovej([0,0,0,0,0,0])\n\n  end\n\ttextmsg("x")\nend\n'
PATH = (
    "\tsignal_async_progress(1)\n"
    "\tmovej([0,-1.5,1.5,-1.5,-1.5,0],a=1,v=0.5,r=0.02)\n"
    "\tmovel(p[0.1,0,0.2,0,3.1,0],a=1,v=0.2,r=0)\n"
)
CONTROL = (
    "def rtde_control():\n    global reg_offset_float = # float register offset\n24"
    "    global reg_offset_int = # int register offset\n24    global x = 1\n    def exec_move_path():\n"
    f"        # inject move path\n{PATH}    end\n"
    "    def rtde_cmd():\n    end\n    def process_cmd(cmd):\n    end\nend\n"
)


@given(cuts=st.lists(st.integers(0, 400), max_size=12))
def test_programs_are_complete_however_they_were_cut(cuts: list[int]) -> None:
    text = (PROGRAM + "# a comment\nstopj(2)\n" + PROGRAM.replace("one", "two")).encode()
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    reader = UploadReader()
    found = [u for a, b in pairwise(places) for u in reader.feed(text[a:b])]
    assert [upload.name for upload in found] == ["one", "stopj", "two"]
    assert found[0].source == PROGRAM


def test_a_program_without_its_end_is_waited_for() -> None:
    reader = UploadReader()
    assert list(reader.feed(b"def one():\n movej([0])\n end\n")) == []
    assert len(list(reader.feed(b"end\n"))) == 1


def test_too_much_text_is_refused() -> None:
    reader = UploadReader()
    for _ in range(MAX_UPLOAD // 60_000):
        assert list(reader.feed(b"def one():\n" + b"x" * 60_000 + b"\n")) == []
    with pytest.raises(ScriptSyntaxError, match="bytes"):
        list(reader.feed(b"x" * 120_000))


@given(data=st.binary(max_size=400))
def test_random_bytes_are_programs_or_nothing(data: bytes) -> None:
    for upload in UploadReader().feed(data):
        try:
            upload.statements()
        except ScriptSyntaxError:
            continue


def test_the_control_script_is_recognised_with_its_offset_and_path() -> None:
    (upload,) = UploadReader().feed(CONTROL.encode())
    assert upload.is_control_script
    assert upload.register_offset == 24
    assert [call.name for call in upload.path()] == ["signal_async_progress", "movej", "movel"]
    assert upload.path()[2].arguments == (Pose((0.1, 0.0, 0.2, 0.0, 3.1, 0.0)),)
    assert upload.path()[1].keywords == {"a": 1.0, "v": 0.5, "r": 0.02}


def test_a_program_that_is_no_control_script() -> None:
    upload = Upload("one", 'def one():\n\tmovej([0,0,0,0,0,0])  # go\n\n\ttextmsg("x")\nend\n')
    assert not upload.is_control_script
    assert upload.path() == []
    assert upload.statements() == [Call("movej", ([0.0] * 6,), {}), Call("textmsg", ("x",), {})]


def test_what_the_client_wraps_around_a_custom_script() -> None:
    body = "\twrite_output_integer_register(0 +24, 1)\n\tset_digital_out(3,True)\n\tmovej(p[0,-0.1,1e-3,0,0,0])\n"
    text = f"def foo():\n{body}end\n"
    register, out, move = Upload("foo", text).statements()
    assert register == Call("write_output_integer_register", (24.0, 1.0), {})
    assert out.arguments == (3.0, True)
    assert move.arguments == (Pose((0.0, -0.1, 0.001, 0.0, 0.0, 0.0)),)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "movej",
        "movej(",
        "movej(q)",
        "x = 3",
        "movej([1,2,f(3)])",
        "movej(p[1,2])",
        "__import__('os').system('true')",
        "movej(*[1])",
        "movej(**{})",
        "a.b()",
        "movej(1 if 2 else 3)",
        "movej(" + "-" * 5000 + "1)",
        "movej(" + "1" * 4000 + ")",
        "movej(" + "[" * 900 + "]" * 900 + ")",
        "movej(\x001)",
        "while True:",
    ],
)
def test_statements_that_are_no_calls_with_literals_are_refused(line: str) -> None:
    with pytest.raises(ScriptSyntaxError):
        parse_call(line)


@given(line=st.text(max_size=80))
def test_any_line_is_a_call_or_refused(line: str) -> None:
    with contextlib.suppress(ScriptSyntaxError):
        assert isinstance(parse_call(line), Call)
