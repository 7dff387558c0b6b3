"""Whether the limits of a profile's NATS fit together: docs/SCALING.md has the rule."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from syncdaemon.base.units import max_age, size
from syncdaemon.stream import room
from tests.deploy.manifests import Document, named
from tests.deploy.nats_config import server


class Room(NamedTuple):
    """The limits of one server, all in bytes, seconds or messages.

    `copies`: how often its memory holds a digest at most. At a hub a site's landing account has it once more.
    `patience`: how long its pod may take for its start.
    """

    memory: int
    asked: int
    go: int
    volume: int
    file_store: int
    stream_bytes: int
    messages: int
    age: float
    copies: int
    patience: int

    @property
    def for_ever(self) -> float:
        """Messages a second that the stream takes for ever, and is never said to fill."""
        return room.FULL_SOON * self.messages / self.age

    def misfits(self) -> Iterator[str]:
        """What does not fit, each in a line."""
        if not self.messages or self.copies * self.messages > room.most_digests(self.memory):
            yield f"max_msgs: {self.copies} x {self.messages} digests, {room.most_digests(self.memory)} fit the memory"
        if not 0.7 * self.memory <= self.go <= room.GO_SHARE * self.memory:
            yield "GOMEMLIMIT: not four fifths of the memory limit, or a little less"
        if self.asked < self.memory:
            yield "memory: less is requested than the server needs when its stream is full"
        if self.file_store > 7 * self.volume // 8:
            yield "max_file_store: more than seven eighths of the volume"
        if self.stream_bytes > self.file_store:
            yield "max_bytes: more than max_file_store"
        if not self.age:
            yield "max_age: none, so a full stream stays full"
        if 3 * room.start_seconds(self.copies * self.messages, self.file_store) > self.patience:
            yield "startupProbe: a third of it is less than a start after kill -9 may take"


def room_of(profile: str) -> Room:
    """The limits as the profile is rendered: those of the stream are settings of the daemon, or of the hub's Job."""
    hub = profile.startswith("staging")
    given = named(profile, "ConfigMap", "hub" if hub else "syncdaemon")["data"]
    container = server(profile)
    (claim,) = named(profile, "StatefulSet", "nats")["spec"]["volumeClaimTemplates"]
    resources, probe = container["resources"], container["startupProbe"]
    return Room(
        memory=size(resources["limits"]["memory"]),
        asked=size(resources["requests"]["memory"]),
        go=_go_limit(container),
        volume=size(claim["spec"]["resources"]["requests"]["storage"]),
        file_store=_file_store(profile),
        stream_bytes=0 if hub else size(given["SYNC_STREAM_MAX_BYTES"]),  # at a hub it is the disk of a landing account
        messages=int(given["SYNC_STREAM_MAX_MSGS"]),
        age=max_age(given["SYNC_STREAM_MAX_AGE"]),
        copies=2 if hub else 1,
        patience=probe["periodSeconds"] * probe["failureThreshold"],
    )


def _go_limit(container: Document) -> int:
    (found,) = (variable["value"] for variable in container["env"] if variable["name"] == "GOMEMLIMIT")
    return size(found.removesuffix("B"))


def _file_store(profile: str) -> int:
    found = re.search(r"max_file_store: (\S+)B$", named(profile, "ConfigMap", "nats")["data"]["jetstream.conf"], re.M)
    assert found
    return size(found[1])
