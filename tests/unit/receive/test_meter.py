"""The numbers of a worker."""

from __future__ import annotations

from syncdaemon.receive.incoming import Rejected
from syncdaemon.receive.meter import Meter, ReceiverGauges


def zero() -> float:
    """Nothing of it."""
    return 0.0


def test_a_message_that_was_rejected_and_not_kept_is_counted_twice() -> None:
    """By its reason, like all of them; and as one whose body only the stream has."""
    meter = Meter(ReceiverGauges(zero, zero, zero))
    for kept in (True, False, False):
        meter.answered(Rejected("digest_wrong", "", kept), 0.1)
    assert meter.value("nats_worker_failed_total", reason="digest_wrong") == 3
    assert meter.value("nats_worker_rejected_left_out_total") == 2
