"""The web side as it stands: started, asked, stopped."""

from __future__ import annotations

import pytest
from aiohttp import ClientSession

from syncdaemon.web.server import Web
from syncdaemon.web.views import Check, Views

pytestmark = pytest.mark.integration


async def test_every_page_answers_and_nothing_in_it_is_deprecated() -> None:
    """Run by pytest, a warning of the library is an error."""
    views = Views(lambda: b"", lambda: {"it": Check(True, "")}, frozenset({"it"}), dict)
    web = Web("127.0.0.1", 0, views)
    await web.start()
    try:
        async with ClientSession() as client:
            for page in ("metrics", "livez", "readyz", "healthz", "status"):
                async with client.get(f"http://127.0.0.1:{web.port}/{page}") as answer:
                    assert answer.status == 200, page
    finally:
        await web.stop()
