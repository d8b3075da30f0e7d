"""The real `ur_rtde` client in processes of its own, for system tests of the twin and of the UR driver.

A client may hang or segfault when its controller misbehaves, which is what many tests are about; and its constructors
hold the interpreter lock, so it never shares a process with the twin. What a client does is a plain function whose
source is sent to a new interpreter: it may use its parameters, what it imports itself, and `say`.
"""

from __future__ import annotations

import inspect
import json
import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_MARK = "\x02"  # begins a line of ours on a standard output that the client's library writes to as well

_PRELUDE = f"""
from __future__ import annotations
import json, os, sys
from typing import Any
def say(value):
    sys.stdout.write("\\n{_MARK}" + json.dumps(value) + "\\n"); sys.stdout.flush()
"""
# os._exit: the client's destructors wait half a second each, and some never return.
_EPILOGUE = """
try:
    say({{"returned": {name}(*json.loads(sys.argv[1]))}})
except Exception as error:
    say({{"raised": f"{{type(error).__name__}}: {{error}}"}})
    os._exit(3)
os._exit(0)
"""


@dataclass(frozen=True)
class Ended:
    """How a client ended.

    Attributes:
        status: exit status; negative is a signal.
        said: what it handed to `say`, in order.
        returned: what its function returned; None when it did not come to that.
        raised: what it raised, as "Type: message"; "" when it did not.
    """

    status: int
    said: list[Any]
    returned: Any
    raised: str


class Client:
    """A running client."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        source = textwrap.dedent(inspect.getsource(function))
        code = _PRELUDE + source + _EPILOGUE.format(name=function.__name__)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, json.dumps(arguments)], stdout=subprocess.PIPE, env=environment
        )
        self._output = b""
        self._said: list[Any] = []

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def hear(self, timeout_s: float = 20.0) -> Any:
        """The next thing that it says; AssertionError when nothing comes, or it has ended."""
        deadline, heard = time.monotonic() + timeout_s, len(self._said)
        while len(self._said) == heard:
            assert self._read(deadline - time.monotonic()), "the client ended, or said nothing in time"
        return self._said[heard]

    def kill(self) -> None:
        """kill -9."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def wait(self, timeout_s: float = 30.0) -> Ended:
        """Wait for its end; a client that does not end in time is killed, and the status is that of SIGKILL."""
        deadline = time.monotonic() + timeout_s
        while self._read(deadline - time.monotonic()):
            pass
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()
        last = self._said[-1] if self._said else None
        outcome = last if isinstance(last, dict) and {"returned", "raised"} & set(last) else {}
        said = self._said[:-1] if outcome else self._said
        return Ended(self._process.returncode, said, outcome.get("returned"), outcome.get("raised", ""))

    def close(self) -> None:
        """End it if it has not ended. Idempotent."""
        if self._process.poll() is None:
            self.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self, timeout_s: float) -> bool:
        """Take some output; False at its end, or when none came in time."""
        stdout = self._process.stdout
        assert stdout is not None
        if timeout_s <= 0 or not select.select([stdout], [], [], timeout_s)[0]:
            return False
        data = os.read(stdout.fileno(), 65536)
        *lines, self._output = (self._output + data).split(b"\n")
        self._said += [json.loads(line[1:]) for line in lines if line.startswith(_MARK.encode())]
        return bool(data)


def run_client(function: Callable[..., Any], *arguments: Any, timeout_s: float = 30.0) -> Any:
    """Run a client to its end and return what its function returned; AssertionError when it did not end well."""
    client = Client(function, *arguments)
    try:
        ended = client.wait(timeout_s)
    finally:
        client.close()
    assert ended.status == 0, ended
    return ended.returned


def say(value: Any) -> None:
    """In a client's function: hand a JSON value to the test at once. Exists here for type checkers; see `_PRELUDE`."""
    raise AssertionError(f"say({value!r}) outside of a client's process")
