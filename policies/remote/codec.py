"""MessagePack with NumPy arrays, byte for byte as openpi's clients and servers write it.

    array    {b"__ndarray__": true, b"data": bytes in C order, b"dtype": "<f4", b"shape": [2, 3]}
    scalar   {b"__npgeneric__": true, b"data": number, b"dtype": "<f4"}

Keys are byte strings, dtypes NumPy's `dtype.str`. Nothing but booleans, integers and floats is accepted in either
direction: no objects, and so no pickle.

What arrives may come from anybody. Its size is bounded before it gets here; `unpack` bounds what it can grow to.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import InputError, MissingDependencyError

_DTYPE = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248])")
_MAX_DIMENSIONS = 8
_MAX_CONTAINERS = 10_000
"""Maps and lists of one message: an empty list is one byte on the wire and 56 in memory."""


def pack(document: Mapping[str, Any]) -> bytes:
    """The document as one message.

    Raises:
        TypeError: a value that is neither plain, nor a list or map, nor a NumPy number or array.
    """
    return _msgpack().packb(document, default=_array_as_map)


def unpack(data: bytes) -> dict[str, Any]:
    """A message as a document; arrays are writable copies in native byte order.

    Raises:
        InputError: the message is no MessagePack map, or holds an array that is none.
    """
    msgpack = _msgpack()
    containers = 0

    def counted(container: Any) -> Any:
        nonlocal containers
        containers += 1
        if containers > _MAX_CONTAINERS:
            raise InputError(f"the message holds more than {_MAX_CONTAINERS} lists and maps")
        return _map_as_array(container) if isinstance(container, dict) else container

    try:
        document = msgpack.unpackb(data, object_hook=counted, list_hook=counted)
    except (ValueError, TypeError, OverflowError, msgpack.exceptions.UnpackException) as error:
        raise InputError(f"the message is no MessagePack ({error or type(error).__name__})") from error
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise InputError(f"the message is a {type(document).__name__}", expected="a map with strings as keys")
    return document


def _array_as_map(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and not _DTYPE.fullmatch(value.dtype.str):
        raise TypeError(f"NumPy dtype {value.dtype} cannot be sent")
    if isinstance(value, np.ndarray):
        return {
            b"__ndarray__": True,
            b"data": value.tobytes(),
            b"dtype": value.dtype.str,
            b"shape": list(value.shape),
        }
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"a {type(value).__name__} cannot be sent")


def _map_as_array(document: dict[Any, Any]) -> Any:
    if b"__ndarray__" in document:
        return _array(document.get(b"data"), _dtype(document.get(b"dtype")), document.get(b"shape"))
    if b"__npgeneric__" in document:
        return _scalar(document.get(b"data"), _dtype(document.get(b"dtype")))
    return document


def _dtype(name: object) -> np.dtype[Any]:
    if not isinstance(name, str) or not _DTYPE.fullmatch(name):
        raise InputError(f"an array of dtype {str(name)[:40]!r}", expected="booleans, integers or floats, e.g. '<f4'")
    return np.dtype(name)


def _array(data: object, dtype: np.dtype[Any], shape: object) -> NDArray[Any]:
    if (
        not isinstance(data, bytes)
        or not isinstance(shape, list)
        or len(shape) > _MAX_DIMENSIONS
        or not all(type(length) is int and length >= 0 for length in shape)
        or math.prod(shape) * dtype.itemsize != len(data)
    ):
        size = len(data) if isinstance(data, bytes) else "no"
        raise InputError(
            f"an array of shape {str(shape)[:80]} and dtype {dtype.str} with {size} bytes",
            expected=f"at most {_MAX_DIMENSIONS} dimensions, and as many bytes as shape and dtype say",
        )
    try:
        return np.ndarray(shape, dtype, data).astype(dtype.newbyteorder("="))
    except ValueError as error:  # an empty array with a length beyond what NumPy can count
        raise InputError(f"an array of shape {str(shape)[:80]} ({error})") from error


def _scalar(data: object, dtype: np.dtype[Any]) -> np.generic:
    if not isinstance(data, bool | int | float):
        raise InputError(f"a scalar of dtype {dtype.str} from a {type(data).__name__}", expected="a number")
    try:
        with np.errstate(over="ignore"):
            return dtype.newbyteorder("=").type(data)
    except (ValueError, OverflowError) as error:
        raise InputError(f"a scalar of dtype {dtype.str} ({error})") from error


def _msgpack() -> Any:
    try:
        import msgpack
    except ImportError as error:
        raise MissingDependencyError.for_extra("msgpack", "remote") from error
    return msgpack
