"""The archive and empty folders of a real daemon, which is another user than its producers."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import eventually
from tests.support.shell import Shell, one_line
from tests.support.users import MakeSite

pytestmark = pytest.mark.integration

BUSY = """
for number in range(40):
    os.makedirs("busy/now", exist_ok=True)
    with open("busy/now/.half", "wb") as file:
        file.write(b"%d" % number)
    os.rename("busy/now/.half", f"busy/now/{number}")
    time.sleep(0.2)
"""


@pytest.mark.lengthy
def test_folders_that_are_empty_for_long_go_and_no_producer_is_harmed(
    nats_server: NatsServer, make_site: MakeSite
) -> None:
    """One that writes again and again into the same folder, with pauses that are shorter than the time."""
    site = make_site(nats_server.url, SYNC_PRUNE_EMPTY="1", SYNC_HOLD_SECONDS="0")
    site.produced("os.makedirs('done/today'); append('done/today/a', b'a'); os.mkdir('never')")
    site.daemon.start()
    producer = site.produce(BUSY)
    gone = [site.replay / name for name in ("done/today", "done", "never")]
    eventually(lambda: len(site.daemon.rows_so_far("published")) > 20, 30, "files are delivered")
    assert producer.wait(60) == 0, "it never missed its folder"
    eventually(lambda: not any(path.exists() for path in gone), 60, "the others are removed")
    eventually(lambda: not (site.replay / "busy").exists(), 60, "and its own in the end")
    assert len(site.daemon.rows_so_far("published")) == 41


@pytest.mark.lengthy
def test_of_the_archive_the_newest_is_kept(nats_server: NatsServer, make_site: MakeSite) -> None:
    """By size; what is delivered is in the stream all the same."""
    settings = {"SYNC_AFTER": "archive", "SYNC_ARCHIVE_KEEP": "100k", "SYNC_HOLD_SECONDS": "0"}
    site = make_site(nats_server.url, **settings)
    site.daemon.start()
    for number in range(8):
        site.produced(f"append('.f', b'%d' % {number} + os.urandom(29_999)); os.rename('.f', 'f{number}')")
        eventually(lambda number=number: not site.daemon.waiting(), what="it is archived")  # type: ignore[misc]

    def there() -> list[str]:
        return sorted(path.name for path in Path(site.replay / ".syncdaemon/archive").rglob("f*"))

    eventually(lambda: there() == ["f5", "f6", "f7"], 30, "the oldest are gone")
    assert len(site.daemon.rows_so_far("published")) == 8


@pytest.mark.parametrize("wrong", ["30", "0", "30days"])
def test_a_bare_number_keeps_nothing_by_guess(shell: Shell, wrong: str) -> None:
    assert one_line(shell("config", SYNC_ARCHIVE_KEEP=wrong), 2).startswith("SYNC_ARCHIVE_KEEP: ")
