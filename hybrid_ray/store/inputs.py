"""Tables that a program hands over instead of naming a file: kept in the store, where every node can read them."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq

from hybrid_ray.digests import digest_bytes
from hybrid_ray.store.root import StoreRoot

AREA = "inputs"


def keep(root: StoreRoot, table: pa.Table) -> str:
    """Write a table under its content's digest; gives its URL. ``gc`` removes it once no run names it."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    path = f"{AREA}/{digest_bytes(buffer.getvalue())}.parquet"
    if not root.exists(path):
        root.write(path, buffer.getvalue())
    return f"{root.uri.rstrip('/')}/{path}"
