"""Names of files: what the daemon writes into headers, rows and lines for people, and what is read back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from random import Random
from urllib.parse import quote_from_bytes

from syncdaemon.base.model import Content, Receipt, Refusal, Stamp
from syncdaemon.ledger import chain, rows
from syncdaemon.ledger.chain import START
from syncdaemon.link.frame import frame
from syncdaemon.publish.message import MessageSettings, encode, is_of
from syncdaemon.receive import incoming
from syncdaemon.receive.incoming import Wanted
from syncdaemon.stream.object_format import BucketNames
from syncdaemon.stream.stored import header_fields
from tests.fuzz import mutate
from tests.fuzz.surface import Case, Surface

DIGEST = sha256(b"abc").hexdigest()
NAMES = (b"a", b"a b.bin", b"sub/deep/file", b"\xff\n\r\n\x1b[31m", "\u202egpj.exe".encode(), b"%25%", b"x: y", b"~")


def subject_for(msg_id: str) -> str:
    """On a subject per digest."""
    return f"edge.replay.edge-1.{msg_id}"


@contextmanager
def ready() -> Iterator[Case]:
    settings = [
        MessageSettings("edge-1", "swarm_jobs", identity, True, subject_for, bucket=BucketNames("edge_replay"))
        for identity in ("content", "site", "path")
    ]

    def case(random: Random) -> None:
        path = b"/".join(part for part in mutate.data(random, random.choice(NAMES)).split(b"/") if part) or b"a"
        path = path.replace(b"\0", b"")[:4000] or b"a"
        name = quote_from_bytes(path)
        assert name.isascii()
        assert name.isprintable()
        size, mtime = random.choice((0, 3, 2**63 - 1)), random.choice((0, -1, 1_700_000_000_123_456_789, 2**63 - 1))
        content = Content(path, name, Stamp(1, 2, size, mtime, 4), b"abc", DIGEST, 1, random.random() < 0.2)
        object = f"edge_replay/{DIGEST}" if random.random() < 0.2 else ""
        message = encode(content, random.choice(settings), object)

        lines = message.headers.split(b"\r\n")
        assert lines[0] == b"NATS/1.0"
        assert lines[-2:] == [b"", b""]
        assert all(line and line.decode("ascii").isprintable() for line in lines[:-2]), message.headers
        assert is_of(header_fields(message.headers), content, "edge-1")
        found = incoming.read(message.headers)
        if isinstance(found, Wanted):
            assert b"/".join(found.path) == path
            assert (found.size, found.mtime_ns, found.sha256) == (size, mtime, DIGEST)
        else:
            assert found.reason in ("bad_path", "path_too_long"), found
        head, body, end = frame(message.subject.encode(), b"", message.headers, message.body)
        assert head.endswith(message.headers)
        assert head.count(b"\r\n") == 1 + message.headers.count(b"\r\n")
        assert (body, end) == (message.body, b"\r\n")
        _row(content, message.msg_id)

    yield case


def _row(content: Content, msg_id: str) -> None:
    """Receipt and refusal, as rows."""
    receipt = Receipt(content, msg_id, subject_for(msg_id), "swarm_jobs", 7, False)
    for event, fields in rows.rows([receipt], [Refusal(content, "unreadable", "it \x1b[31m is")]):
        line, _ = chain.seal(START, "edge-1", "2026-03-04T05:06:07.000001Z", event, fields)
        row, _ = chain.check(START, line)
        assert not rows.fault(row)
        assert row["path"] == content.name
        assert line.decode("ascii").isprintable()


SURFACE = Surface("names", "names of files in headers, frames and rows", ready)
