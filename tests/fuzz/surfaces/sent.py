"""What we send: whatever a subject or a header holds, it is one frame, or it is not sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random

from syncdaemon.base.errors import Unsendable
from syncdaemon.link.frame import frame, header_block
from tests.fuzz import mutate
from tests.fuzz.surface import Case, Surface

SUBJECTS = (b"edge.replay.edge-1.abc", b"$O.edge_replay.C.abc", b"$JS.ACK.swarm_jobs.w.1.2.3.4.5", "\u00e9.a".encode())
HEADERS = b"NATS/1.0\r\nNats-Msg-Id: a\r\nEdge-Path: a%20b\r\n\r\n"
_TOKEN = re.compile(rb"[^\x00-\x20\x7f]+")


def only_frame(sent: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Subject, reply, headers and body of the one frame that these bytes are, as a server reads them."""
    line, _, rest = sent.partition(b"\r\n")
    verb, *words = line.split(b" ")
    assert verb in (b"PUB", b"HPUB"), sent
    assert all(_TOKEN.fullmatch(word) for word in words), sent
    sizes = 2 if verb == b"HPUB" else 1
    *told, _ = (int(word) for word in (*words[-sizes:], b"0"))
    head, size = (told[0], told[1]) if verb == b"HPUB" else (0, told[0])
    subject, *reply = words[:-sizes]
    assert len(reply) < 2, sent
    assert rest[size:] == b"\r\n", sent
    return subject, b"".join(reply), rest[:head], rest[head:size]


@contextmanager
def ready() -> Iterator[Case]:
    def case(random: Random) -> None:
        subject, reply = (mutate.data(random, random.choice(SUBJECTS)) for _ in range(2))
        reply = b"" if random.random() < 0.3 else reply
        headers = mutate.data(random, HEADERS) if random.random() < 0.5 else random.choice((b"", HEADERS))
        body = random.choice((b"", b"abc", b"\r\nPUB a 0\r\n\r\n"))
        with suppress(Unsendable):
            sent = b"".join(frame(subject, reply, headers, body))
            assert only_frame(sent) == (subject, reply, headers, body)
            assert headers.count(b"\n\r\n") == (headers != b"")

        value = mutate.text(random, "a value")
        with suppress(Unsendable):
            block = header_block(("Edge-Path", value), ("Edge-Size", 3))
            assert block == f"NATS/1.0\r\nEdge-Path: {value}\r\nEdge-Size: 3\r\n\r\n".encode()
            assert block.count(b"\n") == block.count(b"\r") == 4

    yield case


SURFACE = Surface("sent", "frames that we send", ready)
