"""Messages that no file could be made of: kept in `.rejected/`, each with a sidecar that says why."""

from __future__ import annotations

import json
import os
from hashlib import sha256

from syncdaemon.base.disk import fsync_dir, write_durably
from syncdaemon.receive.files.draft import Draft
from syncdaemon.receive.files.home import ReceiveDirectory
from syncdaemon.receive.files.room import SIDECAR, RejectRoom
from syncdaemon.receive.incoming import Item, Rejected, site_of
from syncdaemon.stream.stored import header_fields

_HEADERS = 64 << 10  # bytes of headers that a sidecar shows


class Rejects:
    """Keeps messages in `home`, as long as there is room for those of the site that answers for them."""

    def __init__(self, home: ReceiveDirectory) -> None:
        self._home = home
        self._room = RejectRoom(home)

    def keep(self, item: Item, rejected: Rejected, draft: Draft | None) -> bool:
        """Keeps the message's body, or the draft of its large file. Durable when it returns. Raises OSError.

        False: there is no room, and nothing is kept. The name is the message's own, so a second delivery leaves the
        same.
        """
        home, name, sidecar = self._home, item.delivery.name, _sidecar(item, rejected)
        size = len(sidecar) + (len(item.data) if draft is None else draft.size)
        if not self._room.take(_site(item), name, size):
            return False
        target = os.path.join(home.rejected, name.encode())
        if draft is not None:
            draft.sync()
            os.rename(draft.path, target)
        else:
            _write_over(home, target, item.data)
        _write_over(home, target + SIDECAR, sidecar)
        fsync_dir(home.rejected)
        return True

    def close(self) -> None:
        """Closes what is open for it."""
        self._room.close()


def _site(item: Item) -> str:
    return item.site or site_of(header_fields(item.arrival.headers or b""))


def _write_over(home: ReceiveDirectory, target: bytes, data: bytes) -> None:
    draft = home.draft_name()  # another worker may be at the same message
    write_durably(draft, data)
    os.rename(draft, target)


def _sidecar(item: Item, rejected: Rejected) -> bytes:
    arrival, delivery = item.arrival, item.delivery
    headers = arrival.headers or b""
    fields = {
        "reason": rejected.reason,
        "error": rejected.detail,
        "attempts": delivery.times,
        "site": _site(item),
        "stream": delivery.stream,
        "stream_seq": delivery.seq,
        "subject": arrival.subject.decode(errors="replace"),
        "headers": header_fields(headers[:_HEADERS]),
        "size": len(arrival.data),
        "sha256": sha256(arrival.data).hexdigest(),
    }
    if len(headers) > _HEADERS:
        fields["headers_size"] = len(headers)
    return json.dumps(fields, indent=2, sort_keys=True).encode() + b"\n"
