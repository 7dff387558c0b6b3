"""What producers say of files, and what operators write of them: sidecars, headers of metadata, and rules."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from syncdaemon.base import metadata
from syncdaemon.base.model import Content, Fit, Refusal
from syncdaemon.base.rules import BadRules, parse
from syncdaemon.link.frame import block_of
from syncdaemon.receive import incoming
from syncdaemon.receive.incoming import Wanted
from syncdaemon.spool.folders import OpenFolders
from syncdaemon.spool.read import Reader
from syncdaemon.spool.waiting import Candidate
from syncdaemon.stream.stored import header_fields
from tests.fuzz import mutate
from tests.fuzz.surface import Case, Surface

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SIDECARS = (
    b'{"run": "7", "Operator-Id": "x y"}',
    b'{"traceparent": "%b", "sha256": "%b"}' % (TRACE.encode(), b"0" * 64),
    b'{"a": "x", "A": "y"}',
    b'{"a": "\\r\\nNats-Msg-Id: x"}',
    b"[]",
)
RULES = (
    b'[[rule]]\nmatch = ["*.log", "!a*b", "/x/**"]\nleave = true\n',
    b'[[rule]]\nmatch = ["a?[b-c]/"]\npriority = -3\nsettle = 0.5\nhold = 7\ncompress = "zstd"\n',
)
FILE = (
    f"Nats-Msg-Id: x\r\nEdge-Site: edge-1\r\nEdge-Path: a\r\nEdge-Sha256: {'0' * 64}\r\nEdge-Size: 3\r\n",
    5,
)


@contextmanager
def sidecars() -> Iterator[Case]:
    with TemporaryDirectory() as place:
        file, sidecar = Path(place, "a"), Path(place, ".a.meta.json")
        file.write_bytes(b"abc")
        root = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        folders = OpenFolders(root)

        def case(random: Random) -> None:
            """The file is there for its message or its refusal, whatever lies beside it."""
            sidecar.write_bytes(mutate.data(random, random.choice(SIDECARS)))
            reader = Reader(folders, 0.0, Fit(1 << 20, 1 << 20, 1 << 20))
            (found,) = reader.read([Candidate(b"a")], time.time_ns() + 10**12)
            assert isinstance(found, Content | Refusal), found
            if isinstance(found, Content) and found.beside is not None:
                _as_headers(found.beside.said)

        try:
            yield case
        finally:
            folders.close()
            os.close(root)


def _as_headers(said: metadata.Said) -> None:
    """Each is one line, and they say the same at the other end."""
    lines = metadata.header_lines(said)
    text, fields = FILE
    block = block_of(text + "".join(lines), fields + len(lines))
    assert block.count(b"\r\n") == fields + len(lines) + 2
    assert len(lines) <= metadata.MOST_PAIRS + 1
    found = incoming.read(block)
    assert isinstance(found, Wanted), found
    assert found.said == said
    assert metadata.read_sidecar(metadata.write_sidecar(said, "0" * 64)).said == said


@contextmanager
def headers() -> Iterator[Case]:
    def case(random: Random) -> None:
        """Of anybody's message: nothing that could not have been put."""
        lines = b"Edge-Meta-Run: 7\r\nedge-meta-x: y z\r\ntraceparent: %b\r\n" % TRACE.encode()
        block = b"NATS/1.0\r\n" + FILE[0].encode() + mutate.data(random, lines) + b"\r\n"
        said = metadata.of_headers(header_fields(block))
        if said is not None:
            _as_headers(said)

    yield case


@contextmanager
def rules() -> Iterator[Case]:
    def case(random: Random) -> None:
        """They are taken or an error of one line; a path is matched in no time."""
        text = mutate.data(random, random.choice(RULES)).decode("utf-8", "replace")
        path = mutate.data(random, b"x/y/a" * random.choice((1, 40)))[:4000]
        try:
            found = parse(text)
        except BadRules:
            return
        began = time.process_time()
        found.of(path)
        assert time.process_time() - began < 5.0

    yield case


SURFACES = (
    Surface("sidecars", "what lies beside a file, as any producer can write it", sidecars),
    Surface("metadata", "headers of metadata, as anybody can publish them", headers),
    Surface("rules", "the file of rules, and the names that it meets", rules),
)
