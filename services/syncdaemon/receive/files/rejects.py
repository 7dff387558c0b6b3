"""Messages that no file could be made of: kept in `.rejected/`, each with a sidecar that says why."""

from __future__ import annotations

import json
import os
from hashlib import sha256

from syncdaemon.base.disk import fsync_dir, write_durably
from syncdaemon.receive.files.draft import Draft
from syncdaemon.receive.files.home import ReceiveDirectory
from syncdaemon.receive.incoming import Item, Rejected
from syncdaemon.stream.stored import header_fields

SIDECAR = b".reason.json"


def set_aside(home: ReceiveDirectory, item: Item, rejected: Rejected, draft: Draft | None) -> None:
    """Keeps the message's body, or the draft of its large file. Durable when it returns. Raises OSError.

    The name is the message's own, so a second delivery leaves the same.
    """
    name = item.delivery.name
    target = os.path.join(home.rejected, name.encode())
    if draft is not None:
        draft.sync()
        os.rename(draft.path, target)
    else:
        _write_over(home, target, item.data)
    _write_over(home, target + SIDECAR, _sidecar(item, rejected))
    fsync_dir(home.rejected)


def _write_over(home: ReceiveDirectory, target: bytes, data: bytes) -> None:
    draft = home.draft_name()  # another worker may be at the same message
    write_durably(draft, data)
    os.rename(draft, target)


def _sidecar(item: Item, rejected: Rejected) -> bytes:
    arrival, delivery = item.arrival, item.delivery
    fields = {
        "reason": rejected.reason,
        "error": rejected.detail,
        "attempts": delivery.times,
        "stream": delivery.stream,
        "stream_seq": delivery.seq,
        "subject": arrival.subject.decode(errors="replace"),
        "headers": header_fields(arrival.headers or b""),
        "size": len(arrival.data),
        "sha256": sha256(arrival.data).hexdigest(),
    }
    return json.dumps(fields, indent=2, sort_keys=True).encode() + b"\n"
