"""The systems of ``systems.py``: which spec, on which rows, beside what, and what it must show."""

from __future__ import annotations

import systems_graph
import systems_images
import systems_series
import systems_tables
import systems_texts

_PARTS = (systems_images, systems_texts, systems_tables, systems_series, systems_graph)
SYSTEMS = {system.name: system for part in _PARTS for system in part.SYSTEMS}
