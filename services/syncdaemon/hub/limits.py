"""What one account of a hub may take of the server, and how many atomic batches may be open. Pure."""

from __future__ import annotations

from typing import NamedTuple

_OPEN_BATCHES = 50  # atomic batches that a server keeps open in one stream by default (nats-server 2.15), and
_OPEN_BATCHES_IN_ALL = 1_000  # in all streams


class Limits(NamedTuple):
    """`payload` and `disk` in bytes; `disk` of a landing account: its stream, its bucket and its records.

    The server's own `max_file_store` has to be as large as the disk of all landing accounts together.
    """

    connections: int = 16
    subscriptions: int = 1_000
    payload: int = 8 << 20
    leaf_nodes: int = 2
    disk: int = 1 << 30


LIMITS = Limits()


def batches(sites: int) -> str:
    """The limits of the whole server: a site can't take the place of all others, since each has two."""
    in_stream, in_all = max(_OPEN_BATCHES, 2 * sites), max(_OPEN_BATCHES_IN_ALL, 4 * sites)
    return f"limits {{ batch {{ max_inflight_per_stream: {in_stream}, max_inflight_total: {in_all} }} }}"
