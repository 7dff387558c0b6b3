"""Who may do what at the local door, with a daemon, producers and strangers of several users, none of them root."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time

import pytest

from syncdaemon.dev.server import NatsServer
from tests.support.daemon import eventually
from tests.support.users import PRODUCER, STRANGER, MakeSite, Site, as_user, python

pytestmark = pytest.mark.integration

LONG = "20"  # seconds of quiet time
CLIENT = """
import json, os, sys
from tests.support.local_door import call
from pathlib import Path
for line in sys.stdin:
    path, fields = json.loads(line)
    try:
        answered = call(Path("."), path, fields)
        print(json.dumps([answered.status, answered.body]), flush=True)
    except OSError as error:
        print(json.dumps([type(error).__name__, ""]), flush=True)
"""
ORDERS = ("pause", "resume", "limit", "rescan", "reload")


class User:
    """A process of this user, in the replay directory, that makes calls."""

    def __init__(self, site: Site, uid: int) -> None:
        self._process = site.produce(CLIENT, uid=uid)

    def call(self, path: str, fields: object = None) -> tuple[object, object]:
        """Status and body of the answer, or the name of the error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([path, fields]).encode() + b"\n")
        self._process.stdin.flush()
        status, body = json.loads(self._process.stdout.readline())
        return status, body


@pytest.fixture
def site(nats_server: NatsServer, make_site: MakeSite) -> Site:
    made = make_site(nats_server.url, SYNC_SETTLE_SECONDS=LONG, SYNC_SETTLE_IN_PLACE_SECONDS=LONG)
    made.daemon.start()
    return made


def put_and_wait(site: Site, uid: int, data: str) -> None:
    """A program of this user hands a file over, and gets its receipt."""
    code = """
from syncdaemon.client import Outbox
os.umask(0o027)
print(Outbox(".").put(sys.argv[1].encode(), name=sys.argv[1]).receipt(10).stream_seq)
"""
    site.produced(code, data, uid=uid)


def test_a_member_of_the_group_hands_over_and_has_its_receipt(site: Site) -> None:
    """Long before the quiet time of another user's file is over, with a close umask."""
    put_and_wait(site, PRODUCER, "evidence")
    (row,) = site.daemon.rows("published")
    assert row["path"] == "evidence"


def test_a_member_of_the_group_cannot_steer(site: Site) -> None:
    user = User(site, PRODUCER)
    for order in ORDERS:
        status, body = user.call(f"/v1/control/{order}", {"value": "1B"} if order == "limit" else {})
        assert status == 403, body
    assert site.daemon.metric("syncdaemon_paused") == 0
    assert site.daemon.rows("control") == []


def test_a_member_of_the_group_learns_of_no_file(site: Site) -> None:
    """Neither by a page nor by a question without the digest, nor by handing over what is another's."""
    put_and_wait(site, PRODUCER, "secret-name")
    (site.replay / "waits-for-ever.part").write_bytes(b"1")
    (row,) = site.daemon.rows("published")
    user = User(site, STRANGER)
    for page in ("/status", "/healthz", "/readyz", "/metrics"):
        status, body = user.call(page)
        assert status == 200
        assert "secret-name" not in json.dumps(body)
        assert str(row["sha256"]) not in json.dumps(body)
    wrong = {"tickets": [f"secret-name#{'0' * 64}", f"other#{row['sha256']}"], "wait_seconds": 0.3}
    assert user.call("/v1/receipts", wrong) == (200, {"receipts": {}})
    for path in ("secret-name", "never-was"):
        assert user.call("/v1/files", {"ticket": f"{path}#{'0' * 64}"}) == (200, {"state": "noted"})
    right = {"tickets": [f"secret-name#{row['sha256']}"], "wait_seconds": 5}
    assert len(user.call("/v1/receipts", right)[1]["receipts"]) == 1  # type: ignore[index]


def test_a_user_without_the_group_does_not_get_in(site: Site) -> None:
    """Neither to the door nor to the folder, where the directory itself is open to everybody."""
    site.replay.chmod(0o1777)
    begin = [*as_user(STRANGER)[:1], f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", "--", python()]
    code = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('.syncdaemon/socket')"
    ended = subprocess.run([*begin, "-c", code], cwd=site.replay, capture_output=True, text=True, timeout=60)
    assert "PermissionError" in ended.stderr


def test_a_growing_file_of_another_user_arrives_whole_however_often_it_is_handed_over(
    nats_server: NatsServer, make_site: MakeSite
) -> None:
    """A thousand times, under its digest of the moment."""
    site = make_site(nats_server.url, SYNC_SETTLE_IN_PLACE_SECONDS="3")
    site.daemon.start()
    grow = """
import os
file = open("growing", "wb", buffering=0)
number = 0
while number < 100 or not os.path.exists(".enough"):
    file.write(b"%099d\\n" % number)
    number += 1
    time.sleep(0.02)
open(".size", "w").write(str(file.tell()))
file.close()
"""
    producer = site.produce(grow)
    user = User(site, STRANGER)
    eventually(lambda: (site.replay / "growing").exists(), what="it grows")
    states = set()
    for _ in range(1000):
        so_far = (site.replay / "growing").read_bytes()
        ticket = f"growing#{hashlib.sha256(so_far).hexdigest()}"
        states.add(str(user.call("/v1/files", {"ticket": ticket})[1]))
    (site.replay / ".enough").touch()
    assert producer.wait(60) == 0
    assert states == {"{'state': 'noted'}"}
    eventually(lambda: site.daemon.rows_so_far("published"), 60, "it is delivered")
    (row,) = site.daemon.rows("published")
    assert row["size"] == int((site.replay / ".size").read_text())


@pytest.mark.lengthy
def test_a_file_that_is_put_into_the_place_of_ones_own_is_not_taken(site: Site) -> None:
    """What counts is the file that the daemon opened: renamed over by another's, it waits as any other."""
    site.replay.chmod(0o0770)  # not sticky, so that one producer can move the other's file
    site.produced("append('mine', b'half')")
    site.produced("append('theirs', b'half')", uid=STRANGER)
    user = User(site, PRODUCER)
    half = hashlib.sha256(b"half").hexdigest()
    (site.replay / "theirs").rename(site.replay / "mine")
    assert user.call("/v1/files", {"ticket": f"mine#{half}"}) == (200, {"state": "noted"})
    time.sleep(1)
    assert site.daemon.rows("published") == []


FLOOD = """
import json, select, socket, threading
def ask(words):
    while True:
        try:
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(".syncdaemon/socket")
            connection.sendall(words)
            while connection.recv(65536):
                connection.sendall(words)
        except OSError:
            pass
body = json.dumps({"tickets": [f"guess-{i}#{i:064x}" for i in range(200)], "wait_seconds": 20})
ask_for = f"POST /v1/receipts HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n{body}".encode()
for words in [ask_for, b"GET /metrics HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n", b"P"] * 40:
    threading.Thread(target=ask, args=(words,), daemon=True).start()
print("begun", flush=True)
sys.stdin.read()
"""


def test_a_user_who_floods_the_door_keeps_no_other_user_out(site: Site) -> None:
    """With more connections than there are places: half requests, pages, and questions that have to be searched."""
    flooding = site.produce(FLOOD, uid=STRANGER)
    assert flooding.stdout is not None
    assert flooding.stdout.readline() == b"begun\n"
    time.sleep(1)
    for number in range(5):
        put_and_wait(site, PRODUCER, f"evidence-{number}")
    assert len(site.daemon.rows("published")) == 5
    assert site.daemon.metric("edge_link_status") == 1


@pytest.mark.lengthy
def test_a_daemon_outside_the_group_opens_the_door_for_its_own_user_alone(
    nats_server: NatsServer, make_site: MakeSite
) -> None:
    """It can't give the socket to the group, and says so."""
    site = make_site(nats_server.url)
    os.chown(site.replay, -1, 10_099)
    site.replay.chmod(0o3777)
    site.daemon.start()
    found = (site.replay / ".syncdaemon/socket").stat()
    assert found.st_mode & 0o777 == 0o600
    assert site.daemon.logged("local_door_is_closed_to_the_group", at_least=1)
