"""The local door: a Unix socket in the daemon's own folder, for programs on this machine that hand files over.

Who may come in, the mode of the socket says: the daemon's user and the group of the replay directory. Who is there, the
kernel says. Those who may steer see the pages as on this machine's port; to all others no page names a file.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import structlog
from aiohttp import web

from syncdaemon.base.pause import OnceAMinute
from syncdaemon.base.peers import Peer
from syncdaemon.base.socket_files import listen_in, remove_socket
from syncdaemon.base.taken import SOCKET
from syncdaemon.base.tickets import TicketKey
from syncdaemon.web import calls
from syncdaemon.web.access import NO_TOKEN_SET, Barred, barred
from syncdaemon.web.callers import Caller, LocalCallers
from syncdaemon.web.calls import BadCall, Question, SteeringOrder
from syncdaemon.web.pages import COSTLY, Page, Pages, json_page, refusal
from syncdaemon.web.protocol import BROKEN_PAGE, HttpServer
from syncdaemon.web.server import asked_of
from syncdaemon.web.turns import PageTurns
from syncdaemon.web.views import Views, without_files

_GROUP_MODE, _OWN_MODE = 0o660, 0o600
_BODY_SECONDS = 5.0  # until all of a body has come
_NO_RIGHTS = Barred(403, "a user of another user namespace has no rights here")
_NOT_STEERING = Barred(403, "only the daemon's user and those of SYNC_STEER_UIDS may steer it")
_ONLY_POST = Barred(405, "this is called by POST", (("Allow", "POST"),))
_NO_LENGTH = Barred(411, "a body needs its Content-Length")
_TOO_LONG = Barred(413, f"a body has at most {calls.MOST_BYTES} bytes")
_TOO_SLOW = Barred(408, "the body did not come in time")

log = structlog.get_logger(__name__)


class DoorCalls(NamedTuple):
    """What is done for the calls.

    `hand_over`: a user says that a file is complete; whether that counts. `receipts`: waits for what the ledger says.
    `steer`: carries out an order and says in words what holds now; it raises BadCall where the order can't be carried
    out. `steerers`: the users who may give one.
    """

    hand_over: Callable[[TicketKey, Peer], bool]
    receipts: Callable[[Question], Awaitable[Mapping[str, Mapping[str, Any]]]]
    steer: Callable[[SteeringOrder, Peer], Awaitable[str]]
    steerers: frozenset[int]


class DoorPlace(NamedTuple):
    """Where the door is: in the open folder `own`, which is at `path`. `group`: who else may come in."""

    own: int
    path: bytes
    group: int


class Door:
    """The local door, from `start` to `stop`. It is made while the loop runs."""

    def __init__(self, views: Views, calls: DoorCalls, turns: PageTurns) -> None:
        self._calls, self._page_turns = calls, turns
        self._turns = PageTurns()  # of the calls: no page, which takes much longer to make, is in their way
        self._pages = Pages(views, frozenset(), _no_token)
        self._brief_pages = Pages(without_files(views), frozenset(), _no_token)
        self._once_a_minute = OnceAMinute()
        self._http = HttpServer(self._page, LocalCallers)
        self._place: DoorPlace | None = None

    async def start(self, place: DoorPlace) -> None:
        """Opens the door. Where that can't be, the log says so, and all else goes on."""
        try:
            self._http.add(_listening(place))
            self._place = place
        except OSError as error:
            remedy = "files that are dropped are delivered all the same; commands that steer do not work"
            log.warning("no_local_door", error=error.strerror or str(error), effect=remedy)

    async def stop(self) -> None:
        """Answers what is under way, and closes."""
        await self._http.stop()
        if self._place is not None:
            with suppress(OSError):
                remove_socket(self._place.own, SOCKET)

    async def _page(self, request: web.BaseRequest, caller: Caller) -> Page:
        peer = caller.peer
        if not isinstance(peer, Peer) or peer.unknown:
            return refusal(_NO_RIGHTS)
        try:
            return await self._answer(request, peer)
        except BadCall as error:
            return refusal(Barred(400, str(error)))
        except Exception:
            if self._once_a_minute.due(asyncio.get_running_loop().time()):
                log.exception("local_call_failed", page=request.path)
            return refusal(BROKEN_PAGE)

    async def _answer(self, request: web.BaseRequest, peer: Peer) -> Page:
        asked = asked_of(request, "")
        steers = peer.uid in self._calls.steerers
        if asked.target not in calls.PATHS:
            make = partial((self._pages if steers else self._brief_pages).answer, asked)
            return await self._page_turns.take(make) if asked.path in COSTLY else make()
        if why := barred(asked, frozenset(), NO_TOKEN_SET) or (None if asked.method == "POST" else _ONLY_POST):
            return refusal(why)
        if asked.path.startswith(calls.CONTROL) and not steers:
            if self._once_a_minute.due(asyncio.get_running_loop().time(), "not_allowed_to_steer"):
                log.warning("not_allowed_to_steer", call=asked.path, uid=peer.uid, pid=peer.pid)
            return refusal(_NOT_STEERING)
        body = await _body(request)
        return refusal(body) if isinstance(body, Barred) else await self._called(asked.path, body, peer)

    async def _called(self, path: str, body: bytes, peer: Peer) -> Page:
        if path == calls.HAND_OVER:
            taken = await self._turns.take(partial(self._hand_over, body, peer))
            return json_page(200, {"state": "taken" if taken else "noted"})
        if path == calls.ASK:
            question = await self._turns.take(partial(calls.question_of, body))
            return json_page(200, {"receipts": await self._calls.receipts(question)})
        order = calls.order_of(path.removeprefix(calls.CONTROL), body)
        log.info("steered", call=order.call, value=order.value, uid=peer.uid, pid=peer.pid)
        return json_page(200, {"now": await self._calls.steer(order, peer)})

    def _hand_over(self, body: bytes, peer: Peer) -> bool:
        return self._calls.hand_over(calls.file_of(body), peer)


def _listening(place: DoorPlace) -> socket.socket:
    """Raises OSError."""
    try:
        return listen_in(place.own, SOCKET, place.path, mode=_GROUP_MODE, group=place.group)
    except PermissionError:
        log.warning(
            "local_door_is_closed_to_the_group",
            group=place.group,
            remedy="the daemon is not in the group of the replay directory: add it, or only its own user gets in",
        )
    return listen_in(place.own, SOCKET, place.path, mode=_OWN_MODE, group=None)


async def _body(request: web.BaseRequest) -> bytes | Barred:
    length = request.content_length
    if length is None:
        return _NO_LENGTH if request.body_exists else b""
    if length > calls.MOST_BYTES:
        return _TOO_LONG
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        return _TOO_SLOW


def _no_token() -> Barred:
    return NO_TOKEN_SET
