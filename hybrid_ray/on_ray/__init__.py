"""The only package that imports ray."""

import os

# Ray starts a cluster of its own accord at the first remote call: only `cluster.connect` may start one.
# Ray reads this when it is imported, which nothing outside this package does.
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
