"""What the live page of a site shows, and the history of the last hour behind it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from syncdaemon import __version__
from syncdaemon.base.units import duration_in_words, size_in_words
from syncdaemon.daemon.advice import in_words
from syncdaemon.daemon.answer import SafetyFacts, answer
from syncdaemon.daemon.hub_watch import HubWatch
from syncdaemon.daemon.parts import Parts
from syncdaemon.daemon.refused import RefusedFiles
from syncdaemon.daemon.report import Report
from syncdaemon.daemon.tally import Tally
from syncdaemon.settings.values import Settings
from syncdaemon.web.events import Rows, Table
from syncdaemon.web.history import SLOT_SECONDS, SLOTS, History
from syncdaemon.web.views import Check
from syncdaemon.web.words import count, name_of, rate

_LOOK_SECONDS = 2.0  # between two looks for the history, when nobody looks at the page
_BLOCKING = {"ledger": "the ledger can't be written", "scanned": "the replay folder can't be read"}

_PLOTS = (
    {"title": "Files waiting", "unit": "files", "lines": ["ready", "still being written"]},
    {"title": "Bytes waiting", "unit": "bytes", "lines": ["waiting"]},
    {"title": "Bandwidth", "unit": "bytes/s", "lines": ["delivered"]},
)
_KINDS = 4  # values of a slot: one for each line of the plots


class LivePage:
    """Reads the parts whenever somebody looks, and every two seconds for the history."""

    def __init__(self, settings: Settings, parts: Parts, tally: Tally, report: Report, hub: HubWatch | None) -> None:
        self._settings, self._tally, self._report, self._hub = settings, tally, report, hub
        self._spool, self._link = parts.spool, parts.link
        self._quarantine, self._unseen = parts.spool.quarantine, parts.spool.unseen
        self._refused = RefusedFiles(parts.spool)
        self._history = History(_KINDS)
        self._began = time.time()

    async def run(self) -> None:
        """For ever: notes what the plots show."""
        while True:
            self._note(self._report.bandwidth())
            await asyncio.sleep(_LOOK_SECONDS)

    def _note(self, bandwidth: float) -> None:
        spool = self._spool
        settling = spool.settling.files
        values = (spool.depth - settling, settling, spool.waiting_bytes, bandwidth)
        self._history.look(time.monotonic(), time.time(), self._link.proved(), values)

    async def look(self) -> dict[str, Any]:
        """The sections of the page."""
        status, checks = self._report.status(), self._report.checks()
        self._note(status["bandwidth_bytes_per_second"])
        return {
            "about": {
                "kind": "site",
                "name": status["site"],
                "version": __version__,
                "began": round(self._began),
                "plots": _PLOTS,
                "slots": [SLOTS, SLOT_SECONDS],
            },
            "answer": answer(self._facts(status, checks)).shown(),
            "link": self._link_section(status["link"]),
            "facts": Table(_facts(status)),
            "slots": Rows(list(self._history.slots())),
            "work": _work(status),
            "receipts": Rows([_receipt(one) for one in self._tally.newest], thinned=True),
            "refused": {"count": self._quarantine.count, "rows": await self._refused.look()},
            "checks": Table(in_words(checks)),
            "promise": self._promise(status),
        }

    def _link_section(self, link: Mapping[str, Any]) -> dict[str, Any]:
        since = self._history.since
        shown = {name: link[name] for name in ("up", "url", "problem", "reconnects")}
        return {**shown, "since": None if since is None else round(since)}

    def _facts(self, status: Mapping[str, Any], checks: Mapping[str, Check]) -> SafetyFacts:
        left, hub = _left(status), self._hub
        blocked = [words for name, words in _BLOCKING.items() if name in checks and not checks[name].ok]
        scanned = self._spool.scanned
        return SafetyFacts(
            publishes=self._settings.edge_mode,
            scanned=scanned,
            link_up=bool(status["link"]["up"]),
            waiting=status["queue_depth"],
            settling=status["settling_files"],
            left=left,
            refused=status["quarantined_files"],
            unseen=0 if checks["folders"].ok else self._unseen.unread,
            blocked=(blocked or [""])[0] if scanned and blocked else str(status["paused"]),
            leaf=hub is not None,
            lacks=hub.lag.messages if hub is not None and hub.lag is not None else None,
        )

    def _promise(self, status: Mapping[str, Any]) -> list[list[str]]:
        """What holds now."""
        horizon, hold = status["dedupe_horizon_seconds"], self._settings.sync_hold_seconds
        twice = "never, however long an outage lasts"
        if horizon != "any":
            twice = f"never after an outage of up to {duration_in_words(horizon)}; after a longer one it may be"
        held = count(status["held_files"], "file")
        kept = f"kept for another {duration_in_words(hold)}, in case the server loses them ({held} now)"
        shown = [
            ["A file is stored twice", twice],
            ["Delivered files", kept if hold else "not kept any longer"],
            ["Ledger", f"{count(status['ledger_rows'], 'row')}, each chained to the one before"],
        ]
        if checkpoint := status.get("checkpoint"):
            at = f", {checkpoint['at']}" if checkpoint["at"] else ""
            shown.append(
                ["Checkpoint", f"{checkpoint['rows']} rows are covered at the hub ({checkpoint['state']}{at})"]
            )
        if hub := status.get("hub"):
            shown.append(["The hub", str(hub)])
        return shown


def _left(status: Mapping[str, Any]) -> int | None:
    """Seconds until all is delivered. None where that is not known: as beside a large file, which may hold any share
    of the bytes, while what waits is the number of files times their usual size."""
    left = status["time_left_seconds"]
    return left if isinstance(left, int) and not status["upload"] and not status["hashing"] else None


def _facts(status: Mapping[str, Any]) -> list[list[str]]:
    """The queue and the line in words."""
    waiting, left, limit = status["waiting_bytes"], _left(status), status["bwlimit_bytes_per_second"]
    moves = status["upload"] or status["hashing"]
    unknown = "nothing waits" if not waiting else f"not known: {'a large file goes' if moves else 'nothing moves'}"
    when = duration_in_words(left) if left else unknown
    limited = "" if limit == "off" else f", at most {rate(limit)}"
    doubtful = status["in_doubt_files"]
    return [
        ["Ready to go", count(status["ready_files"], "file")],
        ["Still being written", count(status["settling_files"], "file")],
        ["Bytes waiting", f"about {size_in_words(waiting)}" if waiting else "none"],
        ["Time left", when],
        ["Bandwidth", f"{rate(status['bandwidth_bytes_per_second'])}{limited}"],
        ["Delivered since the start", count(status["published_files"] + status["duplicates"], "file")],
        *([["Sent, answer missing", count(doubtful, "file")]] if doubtful else []),
    ]


def _work(status: Mapping[str, Any]) -> list[list[Any]]:
    """Large files that are on their way: path, what is done with it, how far that is, and of how many bytes."""
    upload = status["upload"]
    uploads = [[name_of(upload["path"]), "uploading", upload["stored"], upload["size"]]] if upload else []
    hashing = [[name_of(one["path"]), "computing its digest", one["hashed"], one["size"]] for one in status["hashing"]]
    return uploads + hashing


def _receipt(one: Any) -> list[Any]:
    return [one.number, round(one.at, 1), name_of(one.name), one.size, one.seq, one.duplicate]
