"""An edge machine: real directories and the real daemon in them, a server in memory, and deaths at any step.

Time jumps, threads are taken by turns and the network is `fake_jetstream`, so that one run of a test is like the
other. Everything else is what a site runs: the daemon with its own wiring, the replay directory, the ledger.

    with Edge(tmp_path) as edge:
        edge.drop("a.txt", b"evidence")
        assert edge.drain(Death("ledger", "before"))  # this life ends just before its first rows are written
        assert not edge.drain()                       # the next one finds what it left, and delivers all
        edge.check()                                  # the promises hold
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, MutableMapping, MutableSequence
from contextlib import ExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from hashlib import sha256
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

import pytest
import structlog

import syncdaemon.base.disk
import syncdaemon.daemon
import syncdaemon.spool.batch
from syncdaemon.check.ledger import audit
from syncdaemon.daemon import Daemon
from syncdaemon.daemon.drain import deliver_all
from syncdaemon.daemon.entrances import Entrances
from syncdaemon.ledger import writer
from syncdaemon.publish.choice import Choice, Way
from syncdaemon.settings.values import Settings
from syncdaemon.spool.archive import Archive
from syncdaemon.spool.hold import Hold
from syncdaemon.spool.passage import Passage
from syncdaemon.spool.quarantine import Quarantine
from syncdaemon.spool.read import Reader
from syncdaemon.spool.spool import Spool
from syncdaemon.spool.watch import Hints, Watch
from tests.simulate.clock import Clock, JumpingLoop, LoopExecutor
from tests.simulate.fake_jetstream import Answer, FakeJetStream, FakeLink, FakeSession, Frame
from tests.simulate.fake_stream import Message, header_fields
from tests.support.jetstream import ledger_rows

SITE, STREAM = "edge-1", "swarm_jobs"
MAX_PAYLOAD = 2_000
REASON = ".reason.json"
TOO_LONG = "/".join(["ä" * 100] * 4)  # a name that percent-encoded is longer than that
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
LONG = 900.0  # seconds after which nothing can be left to do

T = TypeVar("T")


class Died(BaseException):
    """The process is gone; nothing of its own can make anything of that."""


class Death:
    """Comes before or after the n-th time that a step is taken; the steps are those that `Life` passes."""

    def __init__(self, step: str = "", when: str = "before", nth: int = 1) -> None:
        self._point = step, when
        self._left = nth

    def strikes(self, step: str, when: str) -> bool:
        """Whether it comes here."""
        if (step, when) != self._point:
            return False
        self._left -= 1
        return self._left == 0


class Life:
    """One process of the daemon. Once it is gone, nothing that it still tries has any effect."""

    def __init__(self, edge: Edge, death: Death) -> None:
        edge.life = self
        self.death = death
        self.gone = asyncio.Event()
        self.events: asyncio.Queue[bytes] = asyncio.Queue()
        self.daemon = Daemon(edge.settings)
        self.daemon.publisher.batches.choice = edge.choice

    def passes(self, step: str, when: str) -> None:
        """The process comes by this point. Raises Died where it comes no further."""
        if self.death.strikes(step, when):
            self.gone.set()
        if self.gone.is_set():
            raise Died(f"{when} {step}")

    def step(self, name: str, work: Callable[[], T]) -> T:
        """Does a piece of the daemon's work, if the process lives to do it."""
        self.passes(name, "before")
        done = work()
        self.passes(name, "after")
        return done


class MortalSession(FakeSession):
    """A connection of a process that may die at the steps `send`, `store` and `ack`."""

    def __init__(self, hub: FakeJetStream, life: Life) -> None:
        super().__init__(hub)
        self._life = life

    async def send(self, frames: Any) -> None:
        """The process hands bytes to the kernel."""
        self._life.passes("send", "before")
        await super().send(frames)
        self._life.passes("send", "after")

    def read(self, frame: Frame) -> None:
        """The server reads a message; a process that dies here takes with it what comes after."""
        if not self._ends(frame, "before"):
            super().read(frame)
            self._ends(frame, "after")

    def _ends(self, frame: Frame, when: str) -> bool:
        if frame.is_for_a_stream and self._life.death.strikes("store", when):
            self._life.gone.set()
            self.silent = True
        return self.silent

    def hear(self, reply: bytes, answer: Answer) -> None:
        """The process gets an answer."""
        if self._life.death.strikes("ack", "before"):
            self._life.gone.set()
        if not self._life.gone.is_set():
            super().hear(reply, answer)
        if self._life.death.strikes("ack", "after"):
            self._life.gone.set()

    def finish(self) -> None:
        """The server reads what is still on its way."""
        while self.arrived and not self.silent:
            self.read(self.arrived.popleft())


class MortalOs:
    """The module `os`, where each call that changes the disk is a step `disk`; a write can also end half way.

    Nothing is synced: processes die here, and never the machine, so that the kernel keeps what was written. The time of
    the disk would be most of the time of these tests. What a loss of power does, the fault laboratory shows.
    """

    CHANGES = frozenset(("link", "makedirs", "mkdir", "rename", "rmdir", "unlink", "write", "pwrite", "ftruncate"))

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    def __getattr__(self, name: str) -> Any:
        if name in ("fsync", "fdatasync"):
            return os.fstat  # as they do, it raises OSError for what is not open
        found = getattr(os, name)
        if name not in self.CHANGES:
            return found
        return lambda *arguments, **named: self._change(partial(found, *arguments, **named))

    def _change(self, call: partial[Any]) -> Any:
        life = self._edge.life
        if call.func in (os.write, os.pwrite) and life.death.strikes("disk", "within"):
            fd, data, *rest = call.args
            call.func(fd, data[: len(data) // 2], *rest)
            life.gone.set()
        return life.step("disk", call)


@asynccontextmanager
async def _no_entrances(*_: object) -> AsyncGenerator[int]:
    """In the place of the daemon's port and its local door: nobody can reach it."""
    yield 0


async def _at_once(work: Callable[..., T], *arguments: Any) -> T:
    """In the place of a thread, which would go on when its process has died."""
    return work(*arguments)


class Edge:
    """The machine. `variables` are settings of its daemon; `batches`: it publishes in atomic batches where it may.

    `dropped` are the files that are to be delivered, by name and content; `withdrawn` those that producers removed or
    replaced before; `changed` are contents that were written to a file after it had left its place.
    """

    def __init__(self, folder: Path, batches: bool = False, **variables: str) -> None:
        self.choice = Choice(Way.BATCH, least=2) if batches else Choice(Way.SINGLES)
        self.replay, self.ledger = folder / "replay", folder / "ledger"
        self.replay.mkdir(parents=True)
        self.clock = Clock()
        self.hub = FakeJetStream(self.clock, MAX_PAYLOAD)
        self.dropped: list[tuple[str, bytes]] = []
        self.withdrawn: list[tuple[str, bytes]] = []
        self.changed: list[bytes] = []
        self.writer = -1
        self.surprises: list[str] = []
        self.loop = JumpingLoop(self.clock)
        self.loop.set_exception_handler(self._surprised)
        self.life: Life
        self.settings = Settings.load(
            {
                "SITE": SITE,
                "SYNC_STREAM": STREAM,
                "SYNC_REPLAY_DIR": str(self.replay),
                "SYNC_LEDGER_DIR": str(self.ledger),
                "SYNC_SETTLE_SECONDS": "0",
                "SYNC_HOLD_SECONDS": "0",
                "SYNC_MIN_FREE_BYTES": "0",
                **variables,
            },
            {},
            {},
        ).settings
        self.log: MutableSequence[MutableMapping[str, Any]] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """From here on time stands still, and the daemon's outside is ours."""
        put = self._stack.enter_context(pytest.MonkeyPatch.context()).setattr
        self.log = self._stack.enter_context(structlog.testing.capture_logs())
        put(time, "monotonic", self.clock.monotonic)
        for name, module in list(sys.modules.items()):
            if name.startswith(
                tuple(
                    f"syncdaemon.{part}" for part in ("spool", "ledger", "publish.objects", "base.disk", "base.beneath")
                )
            ):
                put(module, "ThreadPoolExecutor", self._executor, raising=False)
                put(module, "os", MortalOs(self), raising=False)
        put(asyncio, "to_thread", _at_once)
        put(syncdaemon.base.disk, "_renameat2", self._step("disk", syncdaemon.base.disk._renameat2))
        put(syncdaemon.daemon, "Spool", partial(Spool, clock=self.clock.monotonic))
        put(syncdaemon.daemon, "Link", self._link)
        put(Entrances, "opened", _no_entrances)
        put(syncdaemon.daemon, "spare_the_collector", lambda: None)  # it is the test's
        put(syncdaemon.daemon, "now_text", self.now_text)
        put(writer, "now_text", self.now_text)
        put(Watch, "hints", lambda _: self._hints())
        put(syncdaemon.spool.batch, "BATCH_FILES", 3)  # so that a few files are several batches
        put(Reader, "read", self._step("read", lambda *arguments, read=Reader.read: list(read(*arguments))))
        put(Hold, "retire", self._step("retire", Hold.retire))
        put(Hold, "expire", self._step("delete", Hold.expire))
        put(Passage, "enter", self._step("retire", Passage.enter))
        put(Passage, "leave", self._step("delete", Passage.leave))
        put(Archive, "retire", self._step("retire", Archive.retire))
        put(Quarantine, "set_aside", self._step("quarantine", Quarantine.set_aside))
        return self

    def __exit__(self, *_: object) -> None:
        """Time goes on."""
        self.loop.close()
        self._stack.close()

    def _executor(self, workers: int, name: str) -> LoopExecutor:
        return LoopExecutor(name, partial(Life.step, self.life))

    def _link(self, _: object, changed: Any, _something_waits: object) -> FakeLink:
        return FakeLink(self.hub, changed, partial(MortalSession, life=self.life))

    def _step(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def step(*arguments: Any) -> Any:
            return self.life.step(name, lambda: function(*arguments))

        return step

    async def _hints(self) -> AsyncGenerator[Hints]:
        yield {}
        while True:
            yield {await self.life.events.get(): True}

    def _surprised(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not context["message"].endswith("never retrieved"):  # that is how the dead leave their tasks
            self.surprises.append(f"{context['message']}: {context.get('exception')!r}")

    def now_text(self) -> str:
        """The wall clock, which goes with the other one."""
        return (_BEGAN + timedelta(seconds=self.clock.now)).isoformat(timespec="microseconds").replace("+00:00", "Z")

    def drop(self, name: str, data: bytes, mtime_ns: int | None = None) -> None:
        """A producer drops a file, as producers should: under a hidden name, then renamed."""
        target = self.replay / name
        target.parent.mkdir(parents=True, exist_ok=True)
        hidden = target.with_name(".dropped")
        hidden.write_bytes(data)
        if mtime_ns is not None:
            os.utime(hidden, ns=(mtime_ns, mtime_ns))
        self._withdraw(name)
        hidden.rename(target)
        self.dropped.append((name, data))

    def take_back(self, name: str) -> None:
        """A producer removes what it dropped there, if that is still there."""
        self._withdraw(name)
        (self.replay / name).unlink(missing_ok=True)

    def open_writer(self, name: str) -> None:
        """A producer opens its file once more, to write to it later, and never waits. It has one at a time."""
        if self.writer < 0 and (self.replay / name).exists():
            self.writer = os.open(self.replay / name, os.O_WRONLY | os.O_NONBLOCK)

    def write_late(self, data: bytes) -> None:
        """It writes now, wherever that file is by now, and closes it."""
        if self.writer < 0:
            return
        place = Path(os.readlink(f"/proc/self/fd/{self.writer}"))
        name = str(place.relative_to(self.replay))
        if name.startswith(".syncdaemon/held/") and place.exists():
            self.changed.append(data)
        elif place.exists() and not name.startswith(".syncdaemon/"):
            self._withdraw(name)
            self.dropped.append((name, data))
        else:
            data = b""
        if data:
            os.ftruncate(self.writer, 0)
            os.write(self.writer, data)
        os.close(self.writer)
        self.writer = -1

    def _withdraw(self, name: str) -> None:
        """What is there now is its producer's to remove: it may be delivered, and need not be."""
        if (self.replay / name).exists():
            there = (name, (self.replay / name).read_bytes())
            self.withdrawn.append(there)
            if there in self.dropped:
                self.dropped.remove(there)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs the machine until this is done."""
        return self.loop.run_until_complete(work)

    def drain(self, death: Death | None = None) -> bool:
        """One life, in which the daemon delivers what is there. Whether it died before that."""
        return self.do(self._drain(death or Death()))

    async def _drain(self, death: Death) -> bool:
        life = Life(self, death)
        work = asyncio.create_task(deliver_all(life.daemon, LONG))
        await first(work, life.gone.wait())
        if life.gone.is_set():
            await self.bury()
            return True
        work.result()
        return False

    def begin(self) -> Life:
        """The daemon runs from here on, in the middle of a scene."""
        life = Life(self, Death())
        self._stop = asyncio.Event()
        self._running = asyncio.create_task(life.daemon.run(self._stop))
        return life

    async def end(self) -> None:
        """It is asked to stop, and does."""
        self._stop.set()
        await self._running

    async def bury(self) -> None:
        """What the kernel does for a process that is gone: its bytes arrive, its files and locks are closed."""
        self.life.gone.set()
        for session in list(self.hub.sessions):
            if isinstance(session, MortalSession):
                session.finish()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for fd in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # the listing's own is closed by now
                if int(fd) != self.writer and os.readlink(f"/proc/self/fd/{fd}").startswith(f"{self.replay.parent}/"):
                    os.close(int(fd))

    # --- what there is

    def waiting(self) -> list[Path]:
        """The files in the replay directory that are not the daemon's own."""
        own = self.replay / ".syncdaemon"
        return [path for path in self.replay.rglob("*") if path.is_file() and not path.is_relative_to(own)]

    def held(self) -> list[bytes]:
        """What the daemon keeps of delivered files."""
        return [path.read_bytes() for path in (self.replay / ".syncdaemon/held").rglob("*") if path.is_file()]

    def quarantined(self) -> dict[str, bytes]:
        """The files that were set aside, by name. Each has its reason beside it, and there is nothing else."""
        folder = self.replay / ".syncdaemon/quarantine"
        names = {path.name for path in folder.iterdir()}
        files = {name for name in names if not (name.endswith(REASON) and name.removesuffix(REASON) in names)}
        assert names - files == {name + REASON for name in files}
        found = {name: (folder / name).read_bytes() for name in files}
        for name, data in found.items():
            assert json.loads((folder / (name + REASON)).read_bytes())["sha256"] == digest(data)
        return found

    def history(self) -> list[Message]:
        """Every message that was ever stored."""
        return self.hub.streams[STREAM].history if STREAM in self.hub.streams else []

    def contents(self) -> list[bytes]:
        """What every message stands for that was ever stored, as far as it can be read."""
        return [data for data in map(self.content, self.history()) if data is not None]

    def content(self, message: Message) -> bytes | None:
        """What a message stands for: its body, or the object that it names, read as any client would."""
        where = header_fields(message.headers).get("Edge-Object")
        return message.data if where is None else self.object(where)

    def object(self, where: str) -> bytes | None:
        """The content of an object; None where the bucket has not all of it."""
        bucket, _, name = where.partition("/")
        stored = self.hub.streams[f"OBJ_{bucket}"].messages.values()
        subject = f"$O.{bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"
        for meta in [json.loads(message.data) for message in stored if message.subject == subject]:
            chunks = [message.data for message in stored if message.subject == f"$O.{bucket}.C.{meta['nuid']}"]
            whole = b"".join(chunks)
            if (meta["chunks"], meta["size"], digest(whole)) == (len(chunks), len(whole), name):
                return whole
        return None

    def rows(self, *events: str) -> list[dict[str, Any]]:
        """The ledger's rows of these events."""
        return [row for row in ledger_rows(self.ledger) if row["event"] in events]

    def receipts(self) -> list[dict[str, Any]]:
        """The rows that say that a file is in the stream; not those that are void since the server lost its message."""
        receipts: list[dict[str, Any]] = []
        for row in self.rows("published", "duplicate", "held_lost"):
            if row["event"] == "held_lost":
                void = row["stream_seq"], row["sha256"]
                receipts = [one for one in receipts if (one["stream_seq"], one["sha256"]) != void]
            else:
                receipts.append(row)
        return receipts

    # --- what must be true when all is delivered

    def check(self) -> None:
        """The promises: nothing lost, nothing twice, every receipt true, the chain whole, the directory empty."""
        assert self.surprises == []
        assert self.waiting() == []
        self.check_stream()
        self.check_bucket()
        self.check_receipts()
        self.check_quarantine()

    def check_stream(self) -> None:
        """It holds every content that the server takes, once, and nothing else."""
        stored = self.contents()
        wanted = {*self.changed, *(data for name, data in self.dropped if not refused(name))}
        assert len(stored) == len(set(stored)), "nothing is stored twice"
        assert wanted <= set(stored), "nothing is lost"
        assert set(stored) <= wanted | {data for _, data in self.withdrawn}
        assert set(self.held()) <= set(stored)

    def check_bucket(self) -> None:
        """It holds what messages need and no more, unless an upload was given up because its file was withdrawn."""
        if (bucket := self.hub.streams.get("OBJ_edge_replay_edge-1")) is None:
            return
        needed = {
            header_fields(message.headers).get("Edge-Object", "/").partition("/")[2] for message in self.history()
        }
        stored = list(bucket.messages.values())
        metas = [
            json.loads(message.data) for message in stored if message.subject.startswith("$O.edge_replay_edge-1.M.")
        ]
        chunks = Counter(
            message.subject for message in stored if message.subject.startswith("$O.edge_replay_edge-1.C.")
        )
        wanted = Counter(
            {f"$O.edge_replay_edge-1.C.{meta['nuid']}": meta["chunks"] for meta in metas}
        )  # of an empty file 0
        assert all(chunks[subject] == count for subject, count in wanted.items())
        if not self.withdrawn:
            assert {meta["name"] for meta in metas} == needed - {""}
            assert chunks == wanted

    def replaced(self) -> set[str]:
        """The names under which a producer replaced or removed a file that was not let go of yet."""
        return {name for name, _ in self.withdrawn}

    def check_receipts(self) -> None:
        """Every file has its row; a receipt names the message that holds the content; the chain holds together.

        A process that dies between the rename of a file and its look at what it renamed may leave a newer file of that
        name in the hold, where nothing says its path any more.
        """
        withdrawn = {(quote(name), digest(data)) for name, data in self.withdrawn}
        told = {(dropped_as(row["path"]), row["sha256"]) for row in self.rows("published", "duplicate", "refused")}
        nameless = {sha256 for path, sha256 in told if path.startswith("changed-while-held-")}
        replaced = {quote(name) for name in self.replaced()}
        files = {(quote(name), digest(data)) for name, data in self.dropped}
        wanted = {(path, sha256) for path, sha256 in files if path not in replaced or sha256 not in nameless}
        changed = {digest(data) for data in self.changed} | {sha256 for _, sha256 in files - wanted}
        assert wanted <= told, "every file has its row"
        assert changed <= {sha256 for _, sha256 in told}
        again = {row["sha256"] for row in self.rows("held_lost")}  # perhaps beside its old place
        others = {one for one in told - wanted - withdrawn if one[1] not in again}
        assert all(path.startswith("changed-while-held-") and sha256 in changed for path, sha256 in others)
        messages = {message.seq: message for message in self.history()}
        published: Counter[int] = Counter()
        for row in self.receipts():
            message = messages.get(row["stream_seq"])
            holds = message and self.content(message)
            if message and holds is not None and (row["sha256"], row["subject"]) == (digest(holds), message.subject):
                published[message.seq] += row["event"] == "published"
                assert row.get("object") == header_fields(message.headers).get("Edge-Object")
            else:  # lost by the server, after its producer had taken the file back
                assert self.hub.lossy
                assert (row["path"], row["sha256"]) in withdrawn
        for seq, message in messages.items():
            headers = header_fields(message.headers)
            holds = self.content(message)
            assert holds is not None or self.hub.lossy
            file = dropped_as(headers["Edge-Path"]), headers["Edge-Sha256"] if holds is None else digest(holds)
            # A sequence that the server lost can be another message's, even one with the same content.
            one = published[seq] == 1 or (published[seq] and self.hub.lossy)
            assert one or (not published[seq] and file in withdrawn), (
                f"{published[seq]} receipts for message {seq}, {file}"
            )
        assert audit(self.ledger, SITE).rows == len(ledger_rows(self.ledger))

    def check_quarantine(self) -> None:
        """It holds the refused files and no others, each beside its reason."""
        contents = self.quarantined()
        wanted = Counter(data for name, data in self.dropped if refused(name))
        withdrawn = Counter(data for name, data in self.withdrawn if refused(name))
        assert wanted <= Counter(contents.values()) <= wanted + withdrawn


def dropped_as(path: str) -> str:
    """The name that a producer gave the file. One that was given back beside a newer one of its name has a number."""
    return path.partition("~")[0]


def digest(data: bytes) -> str:
    """What the ledger says of a content."""
    return sha256(data).hexdigest()


def refused(name: str) -> bool:
    """Whether no message can carry this name, whatever is in the file."""
    return len(quote(name)) > MAX_PAYLOAD


async def first(task: asyncio.Task[Any], other: Coroutine[Any, Any, Any]) -> None:
    """Returns when one of the two is done; `other` is given up then."""
    waiting = asyncio.create_task(other)
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
