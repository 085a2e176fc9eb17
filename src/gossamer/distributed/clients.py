"""Which cluster a call runs on."""

from __future__ import annotations

from typing import Any

from gossamer._core.errors import ArgumentError
from gossamer._core.lazy import require


def current_client(client: Any = None) -> Any:
    """The client that a call was given, else the current one.

    Raises
    ------
    ArgumentError
        If there is none.
    MissingDependencyError
        If Dask is not installed.
    """
    distributed = require("distributed", "distributed")
    if client is not None:
        return client
    try:
        return distributed.get_client()
    except ValueError:
        raise ArgumentError("client=None: expected a distributed.Client, and none is current") from None


def count_workers(client: Any) -> int:
    """Workers of a cluster, at least 1."""
    return max(len(client.scheduler_info(n_workers=-1)["workers"]), 1)
