"""What a hostile site does to others at one hub, from a client and from a leaf node that speaks the protocol itself.

An attack is the same on every ground. On the *shared* ground all parties have one account, as narrow user permissions
as one account can give, and each attack succeeds: so it is a real one. On the hub that our commands configure, it has
no effect.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from syncdaemon.dev.server import HOST
from tests.support.client import connect
from tests.support.hub import Hub
from tests.support.leaf import FakeLeaf, FakeSource, fake_leaf
from tests.support.ports import own_port
from tests.support.server import new_server

SECRET = b"the secret of b"
STREAM = "swarm_jobs"
DAY = "20261130"


class Ground(Protocol):
    """A hub of the sites a and b, which connect directly, and of e, whose leaf node is a fake one."""

    leaf_port: int
    admins: tuple[str, ...]
    """The users that see what is stored."""
    records: str
    """The one of them who may write what is kept of all sites."""

    async def connect(self, user: str) -> Client: ...

    def leaf_login(self, user: str, nonce: str) -> dict[str, str]:
        """What a leaf node says in its CONNECT."""

    def bucket(self, site: str) -> str: ...

    async def prepare(self) -> None:
        """Makes the streams anew, or lets them be; the leaf node of e is there."""


class OfTheHub:
    """The hub that our own commands configure."""

    admins: tuple[str, ...] = ("hub", "records", "in-c", "in-d")
    records = "records"

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.leaf_port = hub.leaf_port

    async def connect(self, user: str) -> Client:
        return await self.hub.connect(user)

    def leaf_login(self, user: str, nonce: str) -> dict[str, str]:
        return self.hub.leaf_login(user, nonce)

    def bucket(self, site: str) -> str:
        return f"edge_replay_{site}"

    async def prepare(self) -> None:
        await asyncio.to_thread(self.hub.init)


class Shared:
    """One account for all, with user permissions."""

    admins: tuple[str, ...] = ("admin",)
    records = "admin"

    def __init__(self, folder: Path) -> None:
        self.leaf_port = own_port()
        users = "\n".join(self._user(site) for site in "ab")
        self.server = new_server(
            folder,
            jetstream="domain: hub",
            config=f"""leafnodes {{ listen: "{HOST}:{self.leaf_port}" }}
accounts {{ ALL {{ jetstream: enabled, users: [
  {{user: admin, password: admin}}, {{user: worker, password: worker}}, {{user: "site-e", password: "site-e"}}
{users} ] }} }}
""",
        )

    @staticmethod
    def _user(site: str) -> str:
        may = [
            f"edge.replay.{site}.>",
            *(f"$JS.{api}.DIRECT.GET.{STREAM}.edge.replay.{site}.>" for api in ("API", "hub.API")),
            "$O.edge_replay.>",
            *(f"$JS.API.STREAM.{call}.OBJ_edge_replay" for call in ("INFO", "MSG.GET", "PURGE", "MSG.DELETE")),
            f"$JS.API.STREAM.CREATE.OBJ_edge_replay_{site}",
            f"edge.status.{site}",
        ]
        publish = ", ".join(f'"{subject}"' for subject in may)
        rights = f'{{publish: {{allow: [{publish}]}}, subscribe: {{allow: ["_INBOX.>", "_INBOX_{site}.>"]}}}}'
        return f'  {{user: "site-{site}", password: "site-{site}", permissions: {rights}}}'

    async def connect(self, user: str) -> Client:
        login = {"user": user, "password": user}
        return await connect(self.server.url, error_cb=_ignore, **login)

    def leaf_login(self, user: str, nonce: str) -> dict[str, str]:
        return {"user": user, "pass": user}

    def bucket(self, site: str) -> str:
        return "edge_replay"

    async def prepare(self) -> None:
        client = await self.connect("admin")
        for name in await _names(client):
            await ask(client, f"$JS.API.STREAM.DELETE.{name}")
        leaf = {"api": "$JS.e.API", "deliver": "JSD.e"}
        source = {"name": STREAM, "filter_subject": "edge.replay.e.>", "external": leaf}
        wanted: dict[str, dict[str, Any]] = {
            STREAM: {"subjects": ["edge.replay.*.*"], "deny_delete": True, "sources": [source]},
            "OBJ_edge_replay": {"subjects": ["$O.edge_replay.>"], "allow_rollup_hdrs": True},
            "edge_checkpoints": {"subjects": ["edge.checkpoint.*"]},
            "edge_cosigned": {"subjects": ["edge.cosigned.*.*"]},
            "edge_fleet": {"subjects": ["edge.status.*"]},
        }
        for name, more in wanted.items():
            config = {"name": name, "storage": "file", "allow_direct": True, "max_msgs_per_subject": 1} | more
            await ask(client, f"$JS.API.STREAM.CREATE.{name}", config)
        worker = {"durable_name": "worker-staging", "ack_policy": "explicit", "filter_subject": "edge.replay.b.*"}
        await ask(
            client,
            f"$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.worker-staging",
            {"stream_name": STREAM, "config": worker},
        )
        await client.close()


async def ask(client: Client, subject: str, payload: dict[str, Any] | None = None) -> dict[str, Any]:
    """One call of JetStream's API; it has to succeed."""
    found: dict[str, Any] = json.loads((await client.request(subject, json.dumps(payload or {}).encode(), 10)).data)
    assert "error" not in found, (subject, found["error"])
    return found


async def _names(client: Client) -> list[str]:
    return (await ask(client, "$JS.API.STREAM.NAMES")).get("streams") or []


class Shot(NamedTuple):
    """A message of the attacker. `headers` without the first line."""

    subject: str
    reply: str = ""
    body: bytes = b""
    headers: dict[str, str] | None = None


class Scene:
    """A ground on which b has stored what it has, and a worker holds two messages of it that are not acknowledged."""

    def __init__(self, ground: Ground, leaf: FakeLeaf, said: dict[str, Any]) -> None:
        self.ground = ground
        self.leaf = leaf
        leaf.login(**ground.leaf_login("site-e", leaf.nonce), **said)
        self.source = FakeSource(leaf, "e")
        self.acks: list[str] = []  # the subjects on which the worker would acknowledge
        self.heard_by_b: list[tuple[str, bytes]] = []
        self.heard_by_a: list[bytes] = []
        self._clients: dict[str, Client] = {}

    async def client(self, user: str) -> Client:
        """Logged in, for as long as the scene lasts."""
        if user not in self._clients:
            self._clients[user] = await self.ground.connect(user)
        return self._clients[user]

    async def set_up(self) -> None:
        """Everything that is attacked is there after this, and e is sourced from."""
        await self.ground.prepare()
        b = await self.client("site-b")
        await b.subscribe("_INBOX_b.>", cb=self._at_b)
        a = await self.client("site-a")
        await a.subscribe("_INBOX_a.>", cb=self._at_a)
        for number in range(2):
            await b.request(f"edge.replay.b.{number}", SECRET, 10)
        await b.request(f"$O.{self.ground.bucket('b')}.C.x", SECRET, 10)
        records = await self.client(self.ground.records)
        for subject in (f"edge.cosigned.b.{DAY}", "edge.checkpoint.b", "edge.status.b"):
            await records.request(subject, SECRET, 10)
        worker = await self.client("worker")
        await worker.subscribe("_INBOX_w", cb=self._at_worker)
        ask_two = json.dumps({"batch": 2, "expires": 5_000_000_000}).encode()
        await worker.publish(f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.worker-staging", ask_two, reply="_INBOX_w")
        await until(lambda: len(self.acks) == 2 and STREAM in self.source.consumers)

    async def _at_worker(self, message: Msg) -> None:
        if message.reply:
            self.acks.append(message.reply)

    async def _at_b(self, message: Msg) -> None:
        self.heard_by_b.append((message.subject, message.data))

    async def _at_a(self, message: Msg) -> None:
        self.heard_by_a.append(message.data)

    @property
    def marks(self) -> Marks:
        """What the attackers know."""
        return Marks(self.ground.bucket("a"), self.ground.bucket("b"), tuple(self.acks))

    async def fire(self, shots: list[Shot], user: str = "site-a") -> None:
        """From a client of a site that connects directly."""
        client = await self.client(user)
        for shot in shots:
            await client.publish(shot.subject, shot.body, reply=shot.reply, headers=shot.headers)
            await client.flush()
            await asyncio.sleep(0.05)

    async def fire_from_leaf(self, shots: list[Shot]) -> None:
        """From the fake leaf node of site e."""
        for shot in shots:
            lines = "".join(f"{name}: {value}\r\n" for name, value in (shot.headers or {}).items())
            headers = f"NATS/1.0\r\n{lines}\r\n".encode() if lines else b""
            self.leaf.send(shot.subject, shot.body, shot.reply, headers)
            await asyncio.sleep(0.05)

    async def look(self, attacker: str) -> dict[str, Any]:
        """Everything that is there and is not the attacker's own."""
        found: dict[str, Any] = {"heard by b": list(self.heard_by_b), "leaked": any(map(_secret, self.heard_by_a))}
        for user in self.ground.admins:
            client = await self.client(user)
            for name in await _names(client):
                found[f"{user} {name}"] = await _stream(client, name, attacker, self.ground)
        found["pending"] = await self.pending()
        return found

    async def pending(self) -> Any:
        """How many messages of the worker are not acknowledged."""
        worker = await self.client("worker")
        try:
            info = await ask(worker, f"$JS.API.CONSUMER.INFO.{STREAM}.worker-staging")
        except (AssertionError, nats.errors.NoRespondersError):
            return "no consumer"
        return info["num_ack_pending"]

    async def close(self) -> None:
        """Hangs up everywhere."""
        for client in self._clients.values():
            await client.close()


async def _ignore(error: Exception) -> None:
    """A client of an attacker is refused much."""


def _secret(data: bytes) -> bool:
    return SECRET in data or base64.b64encode(SECRET) in data


async def _stream(client: Client, name: str, attacker: str, ground: Ground) -> Any:
    """Configuration and messages of a stream, without those of the attacker."""
    info = await ask(client, f"$JS.API.STREAM.INFO.{name}", {"subjects_filter": ">"})
    own = (f".{attacker}.", f".{attacker}", f"$O.edge_replay_{attacker}.")
    others = {}
    for subject, count in (info["state"].get("subjects") or {}).items():
        if own[0] in subject or subject.endswith(own[1]) or subject.startswith(own[2]):
            continue
        last = await ask(client, f"$JS.API.STREAM.MSG.GET.{name}", {"last_by_subj": subject})
        others[subject] = (count, last["message"]["seq"], last["message"].get("data"))
    return info["config"], others


async def until(found: Callable[[], bool], seconds: float = 30) -> None:
    """Waits for it."""
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(0.05)


@asynccontextmanager
async def scene(ground: Ground, **said: Any) -> AsyncIterator[Scene]:
    """Set up, and ended with the block; `said`: what the fake leaf node says of itself beside its login."""
    async with fake_leaf(ground.leaf_port) as leaf:
        found = Scene(ground, leaf, said)
        try:
            await found.set_up()
            yield found
        finally:
            await found.close()


Attack = Callable[[Scene], Awaitable[None]]


class Marks(NamedTuple):
    """What an attacker knows of the others. Buckets of a and b; `acks`: as in `Scene`."""

    own_bucket: str = ""
    bucket: str = ""
    acks: tuple[str, ...] = ()


def _call(call: str, name: str = STREAM) -> str:
    return f"$JS.API.STREAM.{call}.{name}"


def _get_own(site: str, body: bytes, reply: str) -> list[Shot]:
    """Stores these bytes, and has them sent where the reply says; from a leaf node this needs the hub's domain."""
    subject = f"edge.replay.{site}.{abs(hash(reply))}"
    gets = [Shot(f"$JS.{api}.DIRECT.GET.{STREAM}.{subject}", reply) for api in ("API", "hub.API")]
    return [Shot(subject, body=body), *gets]


def _by_reply(site: str, marks: Marks) -> dict[str, list[Shot]]:
    """Attacks by the reply subject of a request that everybody may make."""
    fewer = json.dumps({"name": STREAM, "subjects": ["edge.replay.*.*"], "deny_delete": True, "max_msgs": 1}).encode()
    copy = json.dumps({"name": "copy", "sources": [{"name": STREAM}]}).encode()
    bodies_and_replies = {
        "a reply deletes the stream": (b"{}", _call("DELETE")),
        "a reply purges the stream": (b"{}", _call("PURGE")),
        "a reply deletes a neighbour's bucket": (b"{}", _call("DELETE", f"OBJ_{marks.bucket}")),
        "a reply updates the stream": (fewer, _call("UPDATE")),
        "a reply makes a stream with sources": (copy, _call("CREATE", "copy")),
        "a reply squats a subject": (b"squat", "edge.replay.b.squat"),
        "a reply replaces the anchor": (b"squat", f"edge.cosigned.b.{DAY}"),
        "a reply deletes the consumer": (b"{}", f"$JS.API.CONSUMER.DELETE.{STREAM}.worker-staging"),
    }
    return {name: _get_own(site, *rest) for name, rest in bodies_and_replies.items()}


def of_a_client(marks: Marks) -> dict[str, list[Shot]]:
    """All attacks of site a."""
    copy = {"name": "OBJ_edge_replay_a", "sources": [{"name": STREAM}]}
    newest = json.dumps({"last_by_subj": f"$O.{marks.bucket}.C.x"}).encode()
    bucket = f"OBJ_{marks.bucket}"
    return _by_reply("a", marks) | {
        "an acknowledgement is forged": [Shot("edge.replay.a.ack", "_INBOX_b.77", b"x")],
        "a status is answered on a neighbour's anchor": [Shot("edge.status.a", f"edge.cosigned.b.{DAY}", b"x")],
        "a stream with sources": [Shot(_call("CREATE", "OBJ_edge_replay_a"), "_INBOX_a.c", json.dumps(copy).encode())],
        "a roll-up in a bucket": [Shot(f"$O.{marks.own_bucket}.C.mine", "_INBOX_a.r", b"x", {"Nats-Rollup": "all"})],
        "a bucket is read": [Shot(_call("MSG.GET", bucket), "_INBOX_a.m", newest)],
        "a bucket is purged": [Shot(_call("PURGE", bucket), "_INBOX_a.p", b"{}")],
    }


_SPOOF = "$JS.ACK.x.y.1.1.1.1.0@"


def of_a_leaf(marks: Marks) -> dict[str, list[Shot]]:
    """All attacks of site e that are plain messages of its leaf node."""
    hub = f"$JS.hub.API.STREAM.DELETE.{STREAM}"
    return _by_reply("e", marks) | {
        "acknowledged from a leaf": [Shot(ack, body=b"+ACK") for ack in marks.acks],
        "acknowledged by a reply": [shot for ack in marks.acks for shot in _get_own("e", b"+ACK", ack)],
        "the hub's stream is deleted by its domain": [Shot(hub, "_INBOX_e", b"{}")],
        "the hub's stream is deleted": [Shot(_call("DELETE"), "_INBOX_e", b"{}")],
        "a neighbour's subject": [Shot("edge.replay.b.squat", "_INBOX_e", b"squat")],
        "a checkpoint under another subject": [Shot("edge.checkpoint.e", _SPOOF + "edge.checkpoint.b", b"squat")],
        "a status under another subject": [Shot("edge.status.e", _SPOOF + "edge.status.b", b"squat")],
        "the anchor": [Shot(f"edge.cosigned.b.{DAY}", "_INBOX_e", b"squat")],
    }


def _deliver(subject: str, headers: str = "") -> Attack:
    block = f"NATS/1.0\r\n{headers}\r\n\r\n".encode() if headers else b""

    async def attack(scene: Scene) -> None:
        scene.source.deliver(subject, b"squat", block)

    return attack


def _control(header: str, reply: str = "") -> Attack:
    async def attack(scene: Scene) -> None:
        scene.source.control(header, reply)

    return attack


def _stalled(to: str) -> Attack:
    return _control(f"Idle Heartbeat\r\nNats-Consumer-Stalled: {to}")


_COMMANDED = {
    "the stream is deleted": _call("DELETE"),
    "a neighbour's subject is taken": "edge.replay.b.squat",
    "a neighbour's checkpoint is taken": "edge.checkpoint.b",
    "the anchor is evicted": f"edge.cosigned.b.{DAY}",
}

OF_A_SOURCE: dict[str, Attack] = {
    "a neighbour's subject is delivered": _deliver("edge.replay.b.squat"),
    "a neighbour's subject, longer than usual": _deliver("edge.replay.b.squat.squat"),
    "a neighbour's checkpoint is delivered": _deliver("edge.checkpoint.b"),
    "a neighbour's message is replaced": _deliver("edge.replay.b.0"),
    "a neighbour's message is replaced by a roll-up": _deliver("edge.replay.b.0", "Nats-Rollup: all"),
    **{f"flow control: {what}": _control("FlowControl Request", to) for what, to in _COMMANDED.items()},
    **{
        f"stalled: {what}": _control(f"Idle Heartbeat\r\nNats-Consumer-Stalled: {to}")
        for what, to in _COMMANDED.items()
    },
}
"""What the leaf node of e delivers to whoever sources from it."""
