"""What an operator changes while the daemon runs: pause, resume, limit, rescan, reload. Each leaves a row."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from syncdaemon.base import timetable
from syncdaemon.base.errors import SettingsError
from syncdaemon.base.operator_pause import OperatorPause
from syncdaemon.base.peers import Peer
from syncdaemon.base.units import Wrong
from syncdaemon.daemon.reloading import Reloading
from syncdaemon.ledger import Entry, rows
from syncdaemon.link.limit import Limit
from syncdaemon.web.calls import LIMIT, PAUSE, RELOAD, RESCAN, RESUME, BadCall, SteeringOrder

_TIMETABLE = "timetable"  # that of the settings
_LARGE = "large"
_END = "until the next order or the end of the process"

log = structlog.get_logger(__name__)


class Steering:
    """Carries out orders. `record` writes a row; `rescan` asks for a scan. `reloading`: None where nothing can be."""

    def __init__(
        self,
        pause: OperatorPause,
        limit: Limit,
        record: Callable[[Entry], None],
        rescan: Callable[[], None],
        *,
        reloading: Reloading | None = None,
    ) -> None:
        self._operator_pause, self._limit = pause, limit
        self._record, self._rescan, self._reloading = record, rescan, reloading
        self._steered: dict[str, dict[str, Any]] = {}

    async def carry_out(self, order: SteeringOrder, peer: Peer) -> str:
        """What holds now, in words. Raises BadCall where the order can't be carried out."""
        carry_out = {
            PAUSE: self._pause,
            RESUME: self._resume,
            LIMIT: self._set_limit,
            RESCAN: self._look_again,
            RELOAD: self._reload,
        }[order.call]
        value, said = carry_out(order)
        until = _in(order.seconds)
        self._note(order, value, until, peer.uid)
        self._record(rows.control(order.call, value, until, peer.uid))
        return said

    def hung_up(self) -> None:
        """A SIGHUP came: as `reload`. Who sent it is not known, and it was root or our own user."""
        try:
            said = self._reload(SteeringOrder(RELOAD))[1]
        except BadCall as error:
            log.error("not_reloaded", error=str(error), effect="all is as it was")
            return
        self._record(rows.control(RELOAD, said, "", os.geteuid()))

    def steered(self) -> dict[str, dict[str, Any]]:
        """What was changed by an operator and holds now: for each, its value, until when, and which user did it."""
        now = _in(0.0)
        return {name: dict(one) for name, one in self._steered.items() if not one["until"] or one["until"] > now}

    def _note(self, order: SteeringOrder, value: str, until: str, uid: int) -> None:
        if order.call == RESUME:
            for name in (PAUSE, f"{PAUSE} {_LARGE}"):
                self._steered.pop(name, None)
        elif order.call == LIMIT and value == _TIMETABLE:
            self._steered.pop(LIMIT, None)
        elif order.call in (PAUSE, LIMIT):
            name = f"{PAUSE} {_LARGE}" if order.large else order.call
            self._steered[name] = {"value": value, "until": until, "uid": uid}

    def _pause(self, order: SteeringOrder) -> tuple[str, str]:
        self._operator_pause.begin(order.seconds, large=order.large)
        what = "large files are" if order.large else "all files are"
        return _LARGE if order.large else "all", f"{what} kept {_for(order.seconds)}; what is under way ends"

    def _resume(self, _order: SteeringOrder) -> tuple[str, str]:
        self._operator_pause.end()
        return "", "all files are delivered"

    def _set_limit(self, order: SteeringOrder) -> tuple[str, str]:
        if order.value == _TIMETABLE:
            self._limit.order(None)
            return _TIMETABLE, "the limit is that of SYNC_BWLIMIT"
        try:
            self._limit.order(timetable.timetable(order.value), order.seconds)
        except Wrong as wrong:
            raise BadCall(f"value: {wrong}") from None
        return order.value, f"the limit is {order.value} {_for(order.seconds)}"

    def _look_again(self, _order: SteeringOrder) -> tuple[str, str]:
        self._rescan()
        return "", "the whole directory is looked at"

    def _reload(self, _order: SteeringOrder) -> tuple[str, str]:
        if self._reloading is None:
            raise BadCall("the settings of this process can't be read once more")
        try:
            reloaded = self._reloading.once()
        except SettingsError as error:
            raise BadCall(f"nothing is changed: {error}") from None
        if reloaded.changed or reloaded.for_a_restart:
            log.info("reloaded", changed=reloaded.changed, for_a_restart=reloaded.for_a_restart)
        else:
            log.info("nothing_to_reload", remedy=str(reloaded))
        return ", ".join(reloaded.changed), str(reloaded)


def _in(seconds: float | None) -> str:
    """The time so many seconds from now, RFC 3339; empty for None."""
    if seconds is None:
        return ""
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _for(seconds: float | None) -> str:
    return _END if seconds is None else f"for {seconds:g} s, until {_in(seconds)}"
