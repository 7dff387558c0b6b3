"""A folder of another user that the daemon can't look into does not hold up the files beside it."""

from __future__ import annotations

import time

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import eventually
from tests.support.users import PRODUCER, MakeSite, Site

pytestmark = pytest.mark.integration

CLOSED = "os.mkdir('closed'); append('closed/f', b'mine'); os.chmod('closed', 0o700)"


@pytest.fixture(params=["events", "polling"])
def site(request: pytest.FixtureRequest, nats_server: NatsServer, make_site: MakeSite) -> Site:
    """A daemon that runs, beside a closed folder and an open one. Scans are so rare that they do not help."""
    made = make_site(nats_server.url, SYNC_SETTLE_IN_PLACE_SECONDS="1", SYNC_RESCAN_SECONDS="60")
    if request.param == "polling":
        made.daemon.env["WATCHFILES_FORCE_POLLING"] = "1"
    made.produced(CLOSED + "; os.mkdir('open'); os.chmod('open', 0o2770)")
    made.daemon.start()
    made.produced("append('.first', b'first'); os.rename('.first', 'open/first')")
    eventually(lambda: len(made.daemon.rows_so_far("published")) == 1, 20, "the first file is delivered")
    return made


def test_files_elsewhere_are_found_as_fast_as_ever(site: Site) -> None:
    """In the directory itself and in another folder, one after another."""
    for number, folder in enumerate(("", "open/", "", "open/")):
        began = time.monotonic()
        site.produced(f"append('.{number}', b'{number}'); os.rename('.{number}', '{folder}f{number}')")
        eventually(lambda: len(site.daemon.rows_so_far("published")) == number + 2, 20, "it is delivered")  # noqa: B023
        assert time.monotonic() - began < 5, folder


def test_health_log_and_metric_tell_of_it(site: Site) -> None:
    """And stop when it can be read."""
    assert site.daemon.ailment("folders") == "1 folders or files can't be looked at: closed/: Permission denied"
    assert site.daemon.metric("syncdaemon_unreadable_folders") == 1
    (said,) = site.daemon.logged("unread", at_least=1)
    assert (said["level"], said["one"]) == ("error", "closed/: Permission denied")
    site.produced("os.chmod('closed', 0o2770)")
    site.daemon.kill()
    site.daemon.start()
    eventually(lambda: len(site.daemon.rows_so_far("published")) == 2, 20, "what is in it is delivered")
    assert site.daemon.ailment("folders") == ""
    assert site.daemon.metric("syncdaemon_unreadable_folders") == 0


def test_a_folder_that_is_opened_to_the_daemon_is_watched_at_once(nats_server: NatsServer, make_site: MakeSite) -> None:
    """As of mkdtemp(3), which makes it for its user alone. No scan is needed for what is in it, nor for what comes."""
    site = make_site(nats_server.url, SYNC_SETTLE_IN_PLACE_SECONDS="1", SYNC_RESCAN_SECONDS="60")
    site.daemon.start()
    site.produced("append('.a', b'a'); os.rename('.a', 'a')", uid=PRODUCER)
    eventually(lambda: len(site.daemon.rows_so_far("published")) == 1, 20, "its watch is on")
    site.produced("os.mkdir('d', 0o700); append('d/f', b'f'); time.sleep(0.5); os.chmod('d', 0o2770)")
    eventually(lambda: len(site.daemon.rows_so_far("published")) == 2, 10, "what was in it is delivered")
    site.produced("append('d/.g', b'g'); os.rename('d/.g', 'd/g')")
    eventually(lambda: len(site.daemon.rows_so_far("published")) == 3, 5, "and what comes later")
