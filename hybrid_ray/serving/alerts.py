"""Telling somebody: a short JSON message, put to a webhook."""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

_LOG = logging.getLogger(__name__)
_TIMEOUT_S = 5.0


def send_alert(url: str, message: Mapping[str, Any]) -> bool:
    """Put a message to a webhook; False, and a line in the log, where it does not take it.

    Parameters
    ----------
    url : str
        ``http://`` or ``https://``.
    message : mapping
        JSON-able.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"webhook: must begin with http:// or https://; got {url[:40]!r}")
    data = json.dumps(dict(message)).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S):
            return True
    except (urllib.error.URLError, OSError) as error:
        _LOG.warning("the alert could not be sent: %s", error)
        return False
