"""Where a running daemon is reached: the HTTP port, and the local door in its own folder."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from syncdaemon.base.taken import OWN_FOLDER
from syncdaemon.daemon.handover import HandOver
from syncdaemon.daemon.steering import Steering
from syncdaemon.settings.values import Settings
from syncdaemon.spool.spool import Spool
from syncdaemon.web.door import Door, DoorCalls, DoorPlace
from syncdaemon.web.server import Web
from syncdaemon.web.turns import PageTurns
from syncdaemon.web.views import Views


class Entrances:
    """The port shows the views. The door shows them too, and takes files and orders."""

    def __init__(self, settings: Settings, views: Views, hand_over: HandOver, steering: Steering) -> None:
        turns = PageTurns()
        self._hand_over = hand_over
        self._web = Web(
            settings.http_host,
            settings.http_port,
            views,
            hosts=settings.http_hosts,
            token_file=settings.sync_http_token_file,
            turns=turns,
        )
        steerers = frozenset({os.geteuid()}) | (settings.sync_steer_uids or frozenset())
        calls = DoorCalls(hand_over.hand_over, hand_over.receipts, steering.carry_out, steerers)
        self._door = Door(views, calls, turns)

    @asynccontextmanager
    async def opened(self, spool: Spool) -> AsyncIterator[int]:
        """Both are open around the body, which is given the port's number. `spool` is open already.

        Raises SettingsError where the port is taken.
        """
        await self._web.start()
        await self._door.start(_door_place(spool))
        try:
            yield self._web.port
        finally:
            await self._door.stop()
            await self._web.stop()
            await self._hand_over.close()


def _door_place(spool: Spool) -> DoorPlace:
    directory = spool.directory
    path = os.path.join(directory.replay_dir, OWN_FOLDER)
    return DoorPlace(directory.own, path, os.fstat(directory.root).st_gid)
