"""Messages as `receive` gets them: any headers, any body. Nothing is written outside, and no file over another."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from urllib.parse import quote_from_bytes

import zstandard

from syncdaemon.base import packing
from syncdaemon.receive import incoming
from syncdaemon.receive.files.home import ReceiveDirectory
from syncdaemon.receive.files.store import Store
from syncdaemon.receive.incoming import Arrival, Item, Placed, Rejected, Retry, Wanted
from syncdaemon.stream.pulled import DeliveryInfo
from tests.fuzz import mutate
from tests.fuzz.surface import Case, Surface

MEMORY = "/dev/shm"  # a disk in memory, where there is one: every file is synced
PATHS = ("a", "a/b", "a/b/c.bin", "a%20b", "%FF%0A", "x/../y", "link/out", "folder", "pipe", ".hidden", "a" * 255)
_KEPT = 50  # messages until what came of them is taken away
WORDS = (b"abc", b"", b"a" * 2000, bytes(range(256)))


def block(random: Random, body: bytes, packed: bool) -> bytes:
    """The headers of a file's message, some of them changed."""
    fields = {
        "Nats-Msg-Id": "m",
        "Edge-Site": random.choice(("edge-1", "edge-1", "edge-2", "..", "")),
        "Edge-Path": random.choice(PATHS),
        "Edge-Sha256": sha256(body).hexdigest(),
        "Edge-Size": str(len(body)),
        "Edge-Mtime-Ns": "1700000000123456789",
    }
    if packed:
        fields["Content-Encoding"] = "zstd"
    if random.random() < 0.1:
        fields["Edge-Object"] = "edge_replay/" + fields["Edge-Sha256"]
    for _ in range(random.choice((0, 0, 1, 2))):
        name = random.choice(list(fields))
        fields[name] = mutate.text(random, fields[name])
    lines = "\r\n".join(["NATS/1.0", *(f"{name}: {value}" for name, value in fields.items()), "", ""])
    written = lines.encode(errors="surrogatepass")
    return mutate.data(random, written) if random.random() < 0.3 else written


@contextmanager
def headers() -> Iterator[Case]:
    """Each header block stands for a file below its site's folder, or for a message to reject."""

    def case(random: Random) -> None:
        found = incoming.read(block(random, random.choice(WORDS), random.random() < 0.3))
        if isinstance(found, Rejected):
            found.detail.encode()
            return
        assert 0 <= found.size < 2**63
        assert len(found.path) <= incoming.MOST_FOLDERS + 1
        for part in (found.site.encode(), *found.path):
            assert part not in (b"", b".", b".."), found
            assert not set(part) & set(b"/\0"), found
        assert incoming.read(_again(found)) == found

    yield case


def _again(wanted: Wanted) -> bytes:
    """The header block that says just this."""
    path = quote_from_bytes(b"/".join(wanted.path))
    lines = [f"Edge-Site: {wanted.site}", f"Edge-Path: {path}", f"Edge-Sha256: {wanted.sha256}"]
    lines += [f"Edge-Size: {wanted.size}"]
    if wanted.mtime_ns is not None:
        lines.append(f"Edge-Mtime-Ns: {wanted.mtime_ns}")
    if wanted.zstd:
        lines.append("Content-Encoding: zstd")
    if wanted.object is not None:
        lines.append(f"Edge-Object: {wanted.object}")
    return "\r\n".join(["NATS/1.0", *lines, "", ""]).encode()


@contextmanager
def bodies() -> Iterator[Case]:
    """A packed body has the digest that it should have, or is refused; a bomb needs no memory."""
    packer = packing.Packer()
    bomb = zstandard.ZstdCompressor(level=3).compress(bytes(256 << 20))
    stream = io.BytesIO()
    with zstandard.ZstdCompressor(level=1).stream_writer(stream, closefd=False) as writer:
        writer.write(bytes(64 << 20))  # a frame that does not say how large it is
    bombs = (bomb, stream.getvalue(), bomb[:2000] * 5)

    def case(random: Random) -> None:
        data = random.choice(WORDS) * random.choice((1, 3, 50))
        limit = random.choice((len(data), len(data) + 1, 0, 1 << 16))
        if random.random() < 0.1:
            packing.digest(mutate.data(random, random.choice(bombs)), limit)
            return
        packed = packer.pack(data)
        if packed is None:
            return
        assert packing.digest(packed, len(data)) == sha256(data).hexdigest()
        assert len(data) == 0 or packing.digest(packed, len(data) - 1) is None
        packing.digest(mutate.data(random, packed), limit)

    yield case


@contextmanager
def files() -> Iterator[Case]:
    """What is taken lies in its place, whole; what lay there, and what lies outside, is as it was."""
    with TemporaryDirectory(dir=MEMORY if os.path.isdir(MEMORY) else None) as root:
        outside, received = Path(root, "outside"), Path(root, "received")
        outside.mkdir()
        (outside / "secret").write_bytes(b"secret")
        site = received / "edge-1"
        site.mkdir(parents=True)
        (site / "link").symlink_to(outside)
        (site / "folder").mkdir()
        os.mkfifo(site / "pipe")
        (site / "a").write_bytes(b"was here before")
        home = ReceiveDirectory(os.fsencode(received))
        home.open()
        packer, numbers, store = packing.Packer(), iter(range(1, 10**12)), Store(home, 0)

        def case(random: Random) -> None:
            nonlocal store
            body = random.choice((random.randbytes(8), *WORDS))
            packed = packer.pack(body) if random.random() < 0.3 else None
            head, sent = block(random, body, packed is not None), packed or body
            if random.random() < 0.1:
                sent = mutate.data(random, sent)
            wanted, seq = incoming.read(head), next(numbers)
            item = Item(Arrival(b"edge.replay.a.b", b"", sent, head), DeliveryInfo("s", seq, seq, 1), wanted)
            if item.is_object:
                return
            (outcome,) = store.take([item])
            assert isinstance(outcome, Placed | Rejected | Retry)
            if isinstance(outcome, Placed):
                assert isinstance(wanted, Wanted)
                assert _found(received, wanted), (wanted, outcome)
            assert os.listdir(outside) == ["secret"]
            assert (outside / "secret").read_bytes() == b"secret"
            assert (site / "a").read_bytes() == b"was here before"
            assert sorted(os.listdir(root)) == ["outside", "received"]
            if seq % _KEPT == 0:
                store.close()
                _forget(received)
                store = Store(home, 0)

        try:
            yield case
        finally:
            store.close()
            home.close()


def _found(received: Path, wanted: Wanted) -> bool:
    """Whether a file of this content lies at its place, or beside it."""
    place = os.path.join(os.fsencode(received), wanted.site.encode(), *wanted.path)
    for path in (place, incoming.beside(place, wanted.sha256)):
        if os.path.isfile(path) and not os.path.islink(path):
            with open(path, "rb") as file:
                if sha256(file.read()).hexdigest() == wanted.sha256:
                    return True
    # A folder on the way was something else: it lies beside that, under the same name further on.
    names = (entry for entry in received.rglob("*") if entry.is_file() and not entry.is_symlink())
    return any(sha256(name.read_bytes()).hexdigest() == wanted.sha256 for name in names)


def _forget(received: Path) -> None:
    """All that came goes again, so that the disk does not fill; what was there before the first case stays."""
    for place in received.iterdir():
        if place.name == "edge-1":
            for path in place.iterdir():
                if path.name not in ("a", "folder", "link", "pipe"):
                    _remove(path)
            for path in (place / "folder").iterdir():
                _remove(path)
        elif place.name == ".rejected":
            for path in place.iterdir():
                _remove(path)
        elif place.name != ".incoming":
            _remove(place)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


SURFACES = (
    Surface("headers", "headers of incoming messages", headers),
    Surface("bodies", "packed bodies, bombs among them", bodies),
    Surface("files", "messages written as files, on a disk", files),
)
