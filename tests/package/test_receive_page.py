"""docs/RECEIVE.md and the code tell the same: options, numbers, reasons and series."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from syncdaemon.cli.serve import receive
from syncdaemon.receive.incoming import DISK_FULL, OBJECT_DENIED, OBJECT_MISSING, WRITE_ERROR, Placed, Rejected
from syncdaemon.receive.meter import Meter, ReceiverGauges
from syncdaemon.receive.pull.consumer import ACK_WAIT, MAX_ACK_PENDING
from syncdaemon.receive.worker import FINISH_SECONDS
from syncdaemon.settings.table import SETTINGS
from syncdaemon.stream.buckets import BUCKETS

VARIABLES_AS_FIELDS = {setting.field for setting in SETTINGS}
OF_ALL_COMMANDS = {*VARIABLES_AS_FIELDS, "ctx", "env_file"}  # settings, and where they come from
PAGE = (Path(__file__).parents[2] / "docs/RECEIVE.md").read_text(encoding="utf-8")


def test_every_series_is_on_the_page_and_no_other() -> None:
    meter = Meter(ReceiverGauges(lambda: 1, lambda: 0, lambda: 0))
    meter.answered(Placed("written", 1), 0.1)
    meter.answered(Rejected("bad_path", ""), 0.1)
    real = set(re.findall(r"^(nats_worker_\w+)", meter.text().decode(), re.MULTILINE))
    real = {re.sub(r"_(bucket|sum|count)$", "", name) for name in real if not name.endswith("_created")}
    assert set(re.findall(r"nats_worker_\w+", PAGE)) == real


def test_every_option_is_on_the_page_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(--\w+)` \| `?([^`|]*?)`? \|", PAGE, re.MULTILINE))
    parameters = inspect.signature(receive).parameters
    own = {"--consumer": "consumer", "--filter": "subject", "--batch": "batch"}
    assert rows == {flag: str(parameters[name].default or "none") for flag, name in own.items()}


def test_every_option_has_its_row() -> None:
    rows = re.findall(r"^\| `(--[\w-]+)[^|]*` \|", PAGE, re.MULTILINE)
    parameters = [name for name in inspect.signature(receive).parameters if name not in OF_ALL_COMMANDS]
    wanted = ["--filter" if name == "subject" else f"--{name.replace('_', '-')}" for name in parameters]
    assert sorted(rows) == sorted(set(wanted) - {"--folder"})


def test_the_buckets_of_a_worker_that_is_given_none_are_on_the_page() -> None:
    assert f"| {', '.join(f'`{pattern}`' for pattern in BUCKETS)} |" in PAGE


def test_the_numbers_on_the_page_are_the_real_ones() -> None:
    assert f"`ack_wait` {ACK_WAIT:g} s, `max_ack_pending` {MAX_ACK_PENDING}," in PAGE
    assert f"for at most {FINISH_SECONDS:g} s" in PAGE


def test_every_reason_to_put_back_is_on_the_page() -> None:
    assert all(f"`{reason}`" in PAGE for reason in (DISK_FULL, WRITE_ERROR, OBJECT_MISSING, OBJECT_DENIED))
