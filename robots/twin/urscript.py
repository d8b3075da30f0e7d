"""Text of URScript programs as clients upload it: cut out of the stream, recognised, and parsed where it is simple.

Two kinds of program exist for a twin. The control script of `ur_rtde` is recognised and not interpreted: its behaviour
is `control_script.ControlScript`; only the register offset and the injected path are read from its text. Everything
else has to be a straight line of calls (no loops, branches, variables or functions), see `statements`. Source:
Universal Robots' URScript manual; the control script as the client sends it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_UPLOAD = 1 << 20
"""Longest program, bytes."""
_MAX_LINE = 4096

_DEFINITION = re.compile(r"(?:def|sec|thread)\s+([A-Za-z_]\w*)\s*\(")
_INT_OFFSET = re.compile(r"# int register offset\s*\n\s*(\d+)")
_PATH_MARK = "# inject move path"


class ScriptSyntaxError(ValueError):
    """Text that a twin cannot run as a program."""


@dataclass(frozen=True)
class Pose:
    """The literal p[x, y, z, rx, ry, rz]."""

    values: tuple[float, ...]


Value = float | bool | str | list["Value"] | Pose


@dataclass(frozen=True)
class Call:
    """One statement: a function called with literals."""

    name: str
    arguments: tuple[Value, ...]
    keywords: dict[str, Value]


@dataclass(frozen=True)
class Upload:
    """One complete program as it came over the wire."""

    name: str
    source: str

    @property
    def is_control_script(self) -> bool:
        """Whether this is `ur_rtde`'s control script: it polls a register for commands."""
        return "def rtde_cmd():" in self.source and "def process_cmd(cmd):" in self.source

    @property
    def register_offset(self) -> int:
        """First register that the control script uses: 0, or 24 for the upper range.

        Raises:
            ScriptSyntaxError: it is not there.
        """
        found = _INT_OFFSET.search(self.source)
        if found is None:
            raise ScriptSyntaxError("the control script has no register offset")
        return int(found.group(1))

    def path(self) -> list[Call]:
        """Moves that were injected into the control script, as tab-indented lines behind the mark.

        Raises:
            ScriptSyntaxError: a line that is no call.
        """
        _, mark, rest = self.source.partition(_PATH_MARK)
        calls: list[Call] = []
        for line in rest.split("\n")[1:] if mark else ():
            if not line.startswith("\t"):
                break
            if line.strip():
                calls.append(parse_call(line.strip()))
        return calls

    def statements(self) -> list[Call]:
        """Body of a program that is a straight line of calls.

        Raises:
            ScriptSyntaxError: a line that is no call.
        """
        lines = [line.partition("#")[0].strip() for line in self.source.split("\n")]
        if _DEFINITION.match(self.source):
            lines = lines[1 : len(lines) - 1 - lines[::-1].index("end")]
        return [parse_call(line) for line in lines if line]


class UploadReader:
    """Cuts the bytes of a script port into programs: `def`...`end` at column 0, or single lines outside of one."""

    def __init__(self) -> None:
        self._buffer = b""
        self._block: list[str] = []

    def feed(self, data: bytes) -> Iterator[Upload]:
        """Take bytes; yield the programs that are complete now.

        Raises:
            ScriptSyntaxError: more text than a program may have.
        """
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for raw in lines:
            line = raw.decode("utf-8", errors="replace").rstrip("\r")
            if self._block:
                self._block.append(line)
                if line.rstrip() == "end":
                    yield self._finish()
            elif _DEFINITION.match(line):
                self._block = [line]
            elif line.strip() and not line.startswith("#"):
                yield Upload(line.strip().partition("(")[0] or "line", line + "\n")
        if len(self._buffer) + sum(map(len, self._block)) > MAX_UPLOAD:
            raise ScriptSyntaxError(f"a program of more than {MAX_UPLOAD} bytes")

    def _finish(self) -> Upload:
        block, self._block = self._block, []
        found = _DEFINITION.match(block[0])
        return Upload(found.group(1) if found else "", "\n".join(block) + "\n")


def parse_call(line: str) -> Call:
    """One statement such as `movel(p[0.1,0,0,0,0,0],a=1.2,v=0.25,r=0)`.

    Raises:
        ScriptSyntaxError: anything but a call of a function with literals.
    """
    if len(line) > _MAX_LINE:
        raise ScriptSyntaxError(f"a line of {len(line)} characters")
    # Poses become calls of a function that no script can define, so that Python's parser reads the rest.
    text = _close_poses(re.sub(r"(?<![\w])p\[", "__pose__([", line))
    try:
        tree = ast.parse(text, mode="eval").body
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
            raise ScriptSyntaxError(f"'{line[:60]}' is no call of a function")
        if any(keyword.arg is None for keyword in tree.keywords):
            raise ScriptSyntaxError(f"'{line[:60]}' unpacks a mapping")
        return Call(
            tree.func.id,
            tuple(_literal(argument, line) for argument in tree.args),
            {str(keyword.arg): _literal(keyword.value, line) for keyword in tree.keywords},
        )
    except ScriptSyntaxError:
        raise
    # Python's parser and its literals refuse text in these ways: nesting, huge numbers, NUL characters.
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise ScriptSyntaxError(f"'{line[:60]}' is no statement that a twin understands") from error


def _close_poses(text: str) -> str:
    out, depth, open_at = [], 0, []
    for position, character in enumerate(text):
        out.append(character)
        if character == "[":
            depth += 1
            if text.endswith("__pose__(", 0, position):
                open_at.append(depth)
        elif character == "]":
            if open_at and open_at[-1] == depth:
                open_at.pop()
                out.append(")")
            depth -= 1
    return "".join(out)


def _literal(node: ast.expr, line: str) -> Value:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        case ast.UnaryOp(op=ast.USub(), operand=operand) if isinstance(number := _literal(operand, line), float):
            return -number
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            first, second = _literal(left, line), _literal(right, line)
            if isinstance(first, float) and isinstance(second, float):
                return first + second
        case ast.List(elts=elements):
            return [_literal(element, line) for element in elements]
        case ast.Call(func=ast.Name(id="__pose__"), args=[ast.List(elts=elements)]) if len(elements) == 6:
            values = [_literal(element, line) for element in elements]
            if all(isinstance(v, float) for v in values):
                return Pose(tuple(v for v in values if isinstance(v, float)))
        case _:
            pass
    raise ScriptSyntaxError(f"'{line[:60]}' has an argument that is no literal")
