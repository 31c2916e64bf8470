"""A graph of nodes with features, read from files: what extractors of nodes are given beside the rows."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hybrid_ray.data.coerce import one_array
from hybrid_ray.data.nodes import node_id
from hybrid_ray.data.series import is_series_type
from hybrid_ray.errors import DataError
from hybrid_ray.types import AnyArray

MAX_BYTES = 8 * 2**30
"""Bytes of the arrays of a file, unpacked, above which it is refused."""
NODES_FILE, EDGES_FILE = "nodes.parquet", "edges.parquet"
_CSR = ("x_data", "x_indices", "x_indptr", "x_shape")


@dataclass(frozen=True)
class NodeGraph:
    """Nodes, their features, and which are neighbours of which; edges have no direction and no weight.

    Attributes
    ----------
    ids : tuple of str
        One a node, all different.
    data, columns, starts : ndarray
        Features as a sparse matrix by rows: float32 values, their int32 columns, and int64 (n + 1,) where rows begin.
    width : int
        Features of a node.
    neighbours : ndarray of int32 (2 x edges,)
        Those of each node one after the other, sorted; no node is its own neighbour.
    bounds : ndarray of int64 (n + 1,)
        Where the neighbours of each begin.
    """

    ids: tuple[str, ...]
    data: AnyArray
    columns: AnyArray
    starts: AnyArray
    width: int
    neighbours: AnyArray
    bounds: AnyArray

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Row of each id."""
        return {own: row for row, own in enumerate(self.ids)}

    @cached_property
    def features(self) -> Any:
        """A scipy.sparse.csr_array (n, width) of float32."""
        from scipy.sparse import csr_array

        return csr_array((self.data, self.columns, self.starts), shape=(len(self), self.width))

    @property
    def degrees(self) -> AnyArray:
        """Neighbours of each node, int64 (n,)."""
        return np.diff(self.bounds)

    @classmethod
    def of(cls, features: Any, edges: AnyArray, ids: Sequence[str], where: str) -> NodeGraph:
        """The graph of a feature matrix (n, width), sparse or not, and pairs of rows (e, 2).

        Raises
        ------
        DataError
            They do not fit together; the message begins with ``where``.
        """
        from scipy.sparse import csr_array

        held = csr_array(features, dtype=np.float32)
        held.sum_duplicates()
        n = held.shape[0]
        if not n or not held.shape[1]:
            raise DataError(f"{where}: must have nodes and features of each; got features {held.shape}")
        if not np.isfinite(held.data).all():
            raise DataError(f"{where}: features must be finite float32 numbers; some are not. Fill them in")
        if len(ids) != n or len(set(ids)) != n:
            raise DataError(f"{where}: must have {n} ids, all different; got {len(ids)}, {len(set(ids))} different")
        if edges.ndim != 2 or edges.shape[1] != 2 or not np.issubdtype(edges.dtype, np.integer):
            raise DataError(f"{where}: edges must be whole numbers (e, 2); got {edges.dtype} {edges.shape}")
        if len(edges) and (edges.min() < 0 or edges.max() >= n):
            raise DataError(f"{where}: edges must be rows 0 to {n - 1}; got {edges.min()} to {edges.max()}")
        both = np.concatenate([edges, edges[:, ::-1]]).astype(np.int64)
        both = both[both[:, 0] != both[:, 1]]
        pairs = np.unique(both[:, 0] * n + both[:, 1])
        bounds = np.concatenate([[0], np.cumsum(np.bincount(pairs // n, minlength=n))]).astype(np.int64)
        starts = held.indptr.astype(np.int64)
        neighbours = (pairs % n).astype(np.int32)
        return cls(tuple(ids), held.data, held.indices.astype(np.int32), starts, held.shape[1], neighbours, bounds)

    def to_arrays(self) -> dict[str, AnyArray]:
        """Numeric arrays for ``from_arrays``: ids as the bytes of their texts, one after the other."""
        texts = [own.encode() for own in self.ids]
        return {
            "ids": np.frombuffer(b"".join(texts), np.uint8),
            "id_lengths": np.array([len(text) for text in texts], np.int32),
            "data": self.data,
            "columns": self.columns,
            "starts": self.starts,
            "width": np.array([self.width], np.int64),
            "neighbours": self.neighbours,
            "bounds": self.bounds,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray]) -> NodeGraph:
        """The graph that ``to_arrays`` gave."""
        text, ends = arrays["ids"].tobytes(), np.cumsum(arrays["id_lengths"])
        ids = tuple(text[end - n : end].decode() for n, end in zip(arrays["id_lengths"], ends, strict=True))
        rest = {name: arrays[name] for name in ("data", "columns", "starts", "neighbours", "bounds")}
        return cls(ids=ids, width=int(arrays["width"][0]), **rest)


def read_node_graph(path: Path) -> NodeGraph:
    """A graph from an ``.npz`` file, or from a folder of two Parquet files.

    The file has ``x`` (n, width), or the parts of a sparse matrix by rows, ``x_data``, ``x_indices``, ``x_indptr`` and
    ``x_shape``; ``edges`` (e, 2), pairs of rows; and ``ids`` (n,), left out: ``0`` to ``n - 1``. Other arrays are not
    looked at. The folder has ``nodes.parquet`` with a column ``id`` and features, one column each or all in one column
    of lists, and ``edges.parquet`` with ``source`` and ``target``, which are ids.

    Raises
    ------
    DataError
        It is not there, is no such file or folder, or is too large.
    """
    try:
        return _from_folder(path) if path.is_dir() else _from_npz(path)
    except (OSError, EOFError, ValueError, pa.ArrowException, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, DataError):
            raise
        said = " ".join(str(error).split())[:200]
        raise DataError(
            f"{path}: must be an .npz file of plain arrays, or a folder of {NODES_FILE} and {EDGES_FILE}; {said}"
        ) from error


def _from_npz(path: Path) -> NodeGraph:
    with zipfile.ZipFile(path) as archive:
        _refuse_large(path, sum(part.file_size for part in archive.infolist()))
    with np.load(path, allow_pickle=False) as held:
        names = set(held.files)
        sparse = "x" not in names
        missing = sorted({"edges", *(_CSR if sparse else ())} - names)
        if missing:
            raise DataError(
                f"{path}: must have the arrays `edges` and `x`, or {', '.join(_CSR)} in its place; lacks {missing}"
            )
        features = _sparse({name: held[name] for name in _CSR}) if sparse else held["x"]
        if features.ndim != 2 or features.dtype.kind not in "fiub":
            raise DataError(f"{path}: x must be numbers (n, width); got {features.dtype} {features.shape}")
        ids = _ids(path, held["ids"].tolist()) if "ids" in names else [str(row) for row in range(features.shape[0])]
        return NodeGraph.of(features, held["edges"], ids, str(path))


def _sparse(parts: Mapping[str, AnyArray]) -> Any:
    from scipy.sparse import csr_array

    n, width = (int(v) for v in parts["x_shape"])
    held = csr_array((parts["x_data"], parts["x_indices"], parts["x_indptr"]), shape=(n, width))
    held.check_format(full_check=True)  # indices beyond the matrix would be read from beyond its memory
    return held


def _from_folder(path: Path) -> NodeGraph:
    nodes, edges = pq.ParquetFile(path / NODES_FILE), pq.ParquetFile(path / EDGES_FILE)
    for file in (nodes, edges):
        groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
        _refuse_large(path, sum(group.total_byte_size for group in groups))
    table, pairs = nodes.read(), edges.read()
    lacks = sorted({"id"} - set(table.column_names)) + sorted({"source", "target"} - set(pairs.column_names))
    if lacks:
        raise DataError(f"{path}: must have `id` in {NODES_FILE}, `source` and `target` in {EDGES_FILE}; lacks {lacks}")
    ids = _ids(path, table["id"].to_pylist())
    places = {own: row for row, own in enumerate(ids)}
    ends = [[places.get(own, -1) for own in _ids(path, pairs[name].to_pylist())] for name in ("source", "target")]
    rows = np.array(ends, np.int64).T.reshape(-1, 2)
    unknown = int((rows < 0).any(axis=1).sum())
    if unknown:
        raise DataError(f"{path}: edges must be between ids of {NODES_FILE}; {unknown} of {len(rows)} are not")
    return NodeGraph.of(_table_features(path, table.drop_columns(["id"])), rows, ids, str(path))


def _table_features(path: Path, table: pa.Table) -> AnyArray:
    if table.num_columns == 1 and is_series_type(table.schema.field(0).type):
        column = one_array(table.column(0))
        lists = column.cast(pa.large_list(pa.float32())).to_pylist()
        if len({None if own is None else len(own) for own in lists}) > 1:
            raise DataError(f"{path}: lists of features in {NODES_FILE} must be equally long; they are not")
        return np.array(lists, np.float32)
    wrong = [field.name for field in table.schema if not _is_number(field.type)]
    if wrong or not table.num_columns:
        raise DataError(
            f"{path}: {NODES_FILE} must hold features, numbers or one column of lists of numbers, beside `id`; got "
            f"{wrong[:5] or 'none'}"
        )
    return np.column_stack([column.cast(pa.float32()).to_numpy() for column in table.columns])


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _ids(path: Path, values: Sequence[Any]) -> list[str]:
    try:
        return [node_id(value) for value in values]
    except ValueError:
        raise DataError(f"{path}: ids must be whole numbers, or text that does not begin with a brace") from None


def _refuse_large(path: Path, n_bytes: int) -> None:
    if n_bytes > MAX_BYTES:
        raise DataError(
            f"{path}: a graph must have at most {MAX_BYTES / 2**30:g} GiB of arrays; got {n_bytes / 2**30:.1f}. Take "
            "a part of it"
        )
