"""Arrow and Parquet: the types of columns, the log of an open episode, and the files of a dataset."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vlasteer.recording.atomic import replace_file
from vlasteer.recording.layout import IMAGES, SEALED, Column, Layout
from vlasteer.recording.stats import KEYS

_TASK_INDEX = "__index_level_0__"  # what pandas calls the unnamed index by which LeRobot looks up a task


def load_pyarrow() -> None:
    """Have pyarrow import pandas, where it is installed, now and not at the first step: that takes 0.2 s."""
    pa.array([0])


def arrow_type(column: Column) -> pa.DataType:
    """Arrow type of a stored column: a scalar for shape (1,), else a list of fixed length."""
    scalar = {"bool": pa.bool_(), "string": pa.string()}.get(column.dtype) or pa.from_numpy_dtype(column.dtype)
    return scalar if column.shape == (1,) else pa.list_(scalar, column.shape[0])


class RowLog:
    """Append-only Arrow IPC stream; each row is in the file when `append` returns.

    Args:
        path: the file, which must not exist.
        columns: of a row.
    """

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        self._schema = pa.schema([(column.name, arrow_type(column)) for column in columns])
        self._file = pa.OSFile(str(path), "wb")  # unbuffered
        self._writer = pa.ipc.new_stream(self._file, self._schema)

    def batch(self, row: Mapping[str, Any]) -> pa.RecordBatch:
        """The row as a batch of one; copies the values, so that the caller's arrays may change afterwards."""
        return pa.record_batch([_array(row[field.name], field.type) for field in self._schema], schema=self._schema)

    def append(self, batch: pa.RecordBatch) -> None:
        """Write a batch of `batch`."""
        self._writer.write_batch(batch)

    def close(self) -> None:
        """End the stream."""
        self._writer.close()
        self._file.close()


class StepLog(RowLog):
    """The steps of an open episode.

    Args:
        path: the file, which must not exist.
        columns: the dataset's stored columns; `SEALED` ones are replaced by `task`, the instruction.
    """

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        super().__init__(path, [Column("task", "string"), *(c for c in columns if c.name not in SEALED)])


def _array(value: Any, kind: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(pa.array(np.array(value)), kind.list_size)
    return pa.array([value.item() if isinstance(value, np.ndarray) else value], kind)


def read_log(path: Path) -> pa.Table | None:
    """Rows of a log, whatever state a crash left it in: what was cut off is dropped. None when it holds no row."""
    batches: list[pa.RecordBatch] = []
    try:
        with path.open("rb") as file, pa.ipc.open_stream(file) as stream:
            while True:
                batches.append(stream.read_next_batch())
    except (StopIteration, OSError, pa.ArrowInvalid):
        pass  # its end, or where the writer was killed: pyarrow raises one of the two for a batch that is cut off
    return pa.Table.from_batches(batches) if batches else None


def seal_steps(
    log: pa.Table, columns: Sequence[Column], *, episode: int, first_index: int, task_indices: Mapping[str, int]
) -> pa.Table:
    """The episode as LeRobot stores it: columns in the dataset's order, `SEALED` ones filled."""
    rows = log.num_rows
    filled = {
        "episode_index": pa.array(np.full(rows, episode, np.int64)),
        "index": pa.array(np.arange(first_index, first_index + rows, dtype=np.int64)),
        "task_index": pa.array([task_indices[task] for task in log["task"].to_pylist()], pa.int64()),
    }
    arrays = [filled[c.name] if c.name in filled else log[c.name].combine_chunks() for c in columns]
    return pa.table(arrays, schema=pa.schema([(c.name, arrow_type(c)) for c in columns]))


def column_values(table: pa.Table, column: Column) -> NDArray[Any]:
    """Values of a numeric column [steps, n], in its own dtype."""
    array = table[column.name].combine_chunks()
    flat = array.flatten() if pa.types.is_fixed_size_list(array.type) else array
    return flat.to_numpy(zero_copy_only=False).reshape(len(array), *column.shape)


def episode_types(layout: Layout) -> dict[str, pa.DataType]:
    """Columns of meta/episodes: LeRobot's, then the facts of the episode. Types are LeRobot's own."""
    types: dict[str, pa.DataType] = {
        "episode_index": pa.int64(),
        "tasks": pa.list_(pa.string()),
        "length": pa.int64(),
        "data/chunk_index": pa.int64(),
        "data/file_index": pa.int64(),
        "dataset_from_index": pa.int64(),
        "dataset_to_index": pa.int64(),
    }
    for camera in layout.cameras:
        key = f"videos/{IMAGES}{camera}"
        types |= {f"{key}/chunk_index": pa.int64(), f"{key}/file_index": pa.int64()}
        types |= {f"{key}/from_timestamp": pa.float64(), f"{key}/to_timestamp": pa.float64()}
    for column in layout.columns:
        if column.statistics:
            types |= {f"stats/{column.name}/{key}": _stats_type(column, key) for key in KEYS}
    types |= {"meta/episodes/chunk_index": pa.int64(), "meta/episodes/file_index": pa.int64()}
    types |= dict.fromkeys(("plan_index", "task", "start", "seed"), pa.int64())
    types |= dict.fromkeys(("arm", "world", "instruction", "outcome", "recorded_at"), pa.string())
    return types | {"interrupted": pa.bool_(), "recording_id": pa.string(), "extra": pa.string()}


def _stats_type(column: Column, key: str) -> pa.DataType:
    if key == "count":
        return pa.list_(pa.int64())
    if column.dtype == "video":
        return pa.list_(pa.list_(pa.list_(pa.float64())))
    kept = {"bool": pa.bool_(), "int64": pa.int64()} if key in ("min", "max") else {}
    return pa.list_(kept.get(column.dtype, pa.float64()))


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file, whole or not at all. Snappy, as LeRobot: every reader has it."""
    replace_file(path, lambda temporary: pq.write_table(table, temporary, compression="snappy"))


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]], types: Mapping[str, pa.DataType]) -> None:
    """`write_table` of dictionaries; keys that a row lacks become null."""
    write_table(path, pa.Table.from_pylist(list(rows), schema=pa.schema(list(types.items()))))


def read_table(paths: Sequence[Path], columns: Sequence[str] | None = None) -> pa.Table:
    """Several Parquet files of one schema as one table, in the order given."""
    return pa.concat_tables([pq.read_table(path, columns=columns) for path in paths])


def write_tasks(path: Path, tasks: Sequence[str]) -> None:
    """meta/tasks.parquet: task index by instruction, with the instruction as pandas' index, as LeRobot looks it up."""
    index = {
        "field_name": _TASK_INDEX,
        "name": None,
        "pandas_type": "unicode",
        "numpy_type": "object",
        "metadata": None,
    }
    column = {"field_name": "task_index", "name": "task_index", "pandas_type": "int64", "numpy_type": "int64"}
    pandas = {
        "index_columns": [_TASK_INDEX],
        "column_indexes": [],
        "columns": [column | {"metadata": None}, index],
        "pandas_version": "2.0.0",
    }
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), _TASK_INDEX: pa.array(tasks, pa.string())})
    write_table(path, table.replace_schema_metadata({"pandas": json.dumps(pandas)}))


def read_tasks(path: Path) -> list[str]:
    """Instructions of meta/tasks.parquet in the order of their index; empty when there is no file."""
    if not path.exists():
        return []
    table = pq.read_table(path).sort_by("task_index")
    return table[_TASK_INDEX].to_pylist()
