"""Every place where bytes of somebody else come in."""

from __future__ import annotations

from tests.fuzz.surface import Surface
from tests.fuzz.surfaces import (
    answers,
    evidence,
    frames,
    http,
    incoming,
    ledger,
    metas,
    names,
    quarantine,
    sent,
    settings,
)

ALL: tuple[Surface, ...] = (
    frames.SURFACE,
    sent.SURFACE,
    *answers.SURFACES,
    *incoming.SURFACES,
    metas.SURFACE,
    *ledger.SURFACES,
    *evidence.SURFACES,
    *settings.SURFACES,
    http.SURFACE,
    quarantine.SURFACE,
    names.SURFACE,
)
