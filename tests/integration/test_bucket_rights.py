"""Rights that only large files need: each is tried at the start and said, and small files wait for none of them."""

from __future__ import annotations

import json
import os

import pytest

from tests.support.daemon import DaemonProcess, MakeDaemon, eventually
from tests.support.direct_site import LOGIN, SITE, DirectSite
from tests.support.server import MakeNatsServer
from tests.support.shell import Shell

pytestmark = pytest.mark.integration

CALLS = ("INFO", "MSG.GET", "PURGE", "MSG.DELETE")
BUCKET = f"OBJ_edge_replay_{SITE}"
LOGINS = """
authorization {{ users: [
    {{ user: admin, password: admin }}
    {{ user: "{site}", password: "{site}", permissions: {{ publish: {{ deny: [{denied}] }} }} }}
] }}
"""


def logins(*denied: str) -> str:
    """A login without these rights."""
    return LOGINS.format(site=SITE, denied=", ".join(f'"{subject}"' for subject in denied))


def objects(daemon: DaemonProcess) -> tuple[bool, str]:
    """What health says of large files."""
    check = json.loads(daemon.page("/healthz")[1])["checks"]["objects"]
    return check["ok"], check["detail"]


def lacking(daemon: DaemonProcess) -> str:
    """What the log said at the start, once; small files go on."""
    (line,) = daemon.logged("objects_lacking", at_least=1)
    assert line["effect"] == "a large file would wait for it, all others go on"
    detail = str(line["detail"])
    assert objects(daemon) == (True, f"a large file would wait: {detail}")
    daemon.drop("small", b"small")
    eventually(lambda: len(daemon.rows_so_far("published")) == 1, 10, "a small file is delivered")
    assert daemon.metric("syncdaemon_link_reconnects_total") == 0
    return detail


@pytest.mark.parametrize(
    "call", ["PURGE", *(pytest.param(one, marks=pytest.mark.lengthy) for one in CALLS if one != "PURGE")]
)
def test_a_right_that_the_account_does_not_import_is_named_before_the_first_large_file(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, shell: Shell, call: str
) -> None:
    """The log, health and `doctor` name it."""
    right = f"$JS.API.STREAM.{call}.{BUCKET}"
    site = DirectSite(make_nats_server, hidden=right)
    daemon = make_daemon(site.server.url, **LOGIN)
    daemon.start()
    assert lacking(daemon).startswith(f"no server answers {right}: ")
    found = shell("doctor", "--json", NATS_URL=site.server.url, **LOGIN)
    (bucket,) = (one for one in json.loads(found.out) if one["check"] == "bucket")
    assert bucket["level"] == "warning"
    assert right in bucket["said"]


def test_each_of_several_rights_that_a_user_lacks_is_named(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> None:
    """After the server has given them, the next connection shows it; then a large file is delivered."""
    denied = [f"$JS.API.STREAM.{call}.{BUCKET}" for call in CALLS if call != "INFO"]
    server = make_nats_server(config=logins(*denied, f"$O.edge_replay_{SITE}.C.>"))
    server.start()
    daemon = make_daemon(server.url, **LOGIN)
    daemon.start()
    said = lacking(daemon).lower()
    for subject in (*denied, f"$O.edge_replay_{SITE}.C.0"):
        assert f'publish to "{subject}"'.lower() in said

    server.stop()
    server.config = logins("none")
    server.start()
    eventually(lambda: objects(daemon) == (True, "open"), 30, "nothing is lacking any more")
    daemon.drop("large", os.urandom(3 << 20))
    eventually(lambda: len(daemon.rows_so_far("published")) == 2, 30, "the large file is delivered")
    assert len(daemon.logged("objects_lacking")) == 1


def test_a_bucket_that_is_missing_and_may_not_be_made_is_said(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon
) -> None:
    """Where the site may make it, there is nothing to say."""
    server = make_nats_server()
    server.start()
    daemon = make_daemon(server.url)
    daemon.start()
    daemon.drop("small", b"first")
    eventually(lambda: len(daemon.rows_so_far("published")) == 1, 10, "it is delivered, to a stream that was made")
    assert objects(daemon) == (True, "open")
    assert daemon.stop() == 0
    assert not daemon.logged("objects_lacking")

    other = make_daemon(server.url, "other", SITE="other", SYNC_STREAM_CREATE="false")
    other.start()
    assert lacking(other) == "no bucket edge_replay_other takes our messages, and SYNC_STREAM_CREATE=false"


@pytest.mark.lengthy
def test_a_bucket_that_the_user_may_not_make_is_said(
    make_nats_server: MakeNatsServer, make_daemon: MakeDaemon, shell: Shell
) -> None:
    """Before there is one. `doctor` says it too."""
    right = f"$JS.API.STREAM.CREATE.{BUCKET}"
    server = make_nats_server(config=logins(right))
    server.start()
    daemon = make_daemon(server.url, **LOGIN)
    daemon.start()
    assert f'publish to "{right}"'.lower() in lacking(daemon).lower()
    found = shell("doctor", "--json", NATS_URL=server.url, **LOGIN)
    (bucket,) = (one for one in json.loads(found.out) if one["check"] == "bucket")
    assert bucket["level"] == "warning"
    assert right.lower() in bucket["said"].lower()
