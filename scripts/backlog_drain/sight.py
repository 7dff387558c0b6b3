"""The queue as Prometheus sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scripts.prometheus import Api
from syncdaemon.base.errors import SettingsError


@dataclass(frozen=True)
class Seen:
    """`floor` is the stream sequence up to which all is acknowledged; `waiting` counts the workers' open requests."""

    backlog: int
    ack_pending: int
    floor: int
    waiting: int

    def drained(self, last: int) -> bool:
        """Whether all is done, up to this sequence.

        Both gauges are 0 before the first message too, and for a moment after it: the floor tells these apart.
        """
        return self.backlog == 0 and self.ack_pending == 0 and self.floor >= last


class Sight:
    """One consumer's queue. `labels` pick it out where Prometheus knows several of the same name."""

    def __init__(self, api: Api, stream: str, consumer: str, labels: Mapping[str, str]) -> None:
        self._api = api
        self._recorded = _matchers({"stream": stream, "consumer": consumer, **labels})
        own = {"stream_name": stream, "consumer_name": consumer, "is_consumer_leader": "true"}
        self._exported = _matchers({**own, **labels})

    @property
    def name(self) -> str:
        """What Prometheus is asked for first."""
        return f"jetstream_backlog{self._recorded}"

    def look(self) -> Seen | None:
        """What Prometheus knows now, None where one of the series is missing.

        Raises ConnectTimeout where Prometheus does not answer, SettingsError where it knows several such queues.
        """
        values = [
            self._one(f"jetstream_backlog{self._recorded}"),
            self._one(f"jetstream_ack_pending{self._recorded}"),
            self._one(f"jetstream_consumer_ack_floor_stream_seq{self._exported}"),
            self._one(f"jetstream_consumer_num_waiting{self._exported}"),
        ]
        known = [value for value in values if value is not None]
        return Seen(*known) if len(known) == len(values) else None

    def _one(self, series: str) -> int | None:
        found = self._api.query(series)
        if len(found) > 1:
            told = "; ".join(str(sample.labels) for sample in found)
            raise SettingsError(f"--label: Prometheus knows {len(found)} such queues, name labels of one: {told}")
        return int(found[0].value) if found else None


def _matchers(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"
