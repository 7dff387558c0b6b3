"""Where the calls of JetStream's API go: version 1 of the API (ADR-1, nats-server 2.15). Pure."""

from __future__ import annotations

from typing import NamedTuple


class Calls(NamedTuple):
    """The subjects of the calls. All of them lie below `prefix`.

    A JetStream that has a domain takes them below `$JS.<domain>.API` as well, also over a leaf node.
    """

    prefix: str

    @classmethod
    def of(cls, domain: str | None) -> Calls:
        """Those of the JetStream that has this domain; without one, of the server that we are connected to."""
        return cls(f"$JS.{domain}.API") if domain else JETSTREAM

    @property
    def account(self) -> str:
        """What the account stores, and its limits."""
        return f"{self.prefix}.INFO"

    def stream(self, verb: str, stream: str) -> str:
        """`INFO`, `CREATE`, `UPDATE`, `PURGE`, `MSG.GET` or `MSG.DELETE` of a stream."""
        return f"{self.prefix}.STREAM.{verb}.{stream}"

    def direct_gets(self, stream: str) -> str:
        """Messages of a stream from any copy of it (ADR-31); which ones is said in the body of the request."""
        return f"{self.prefix}.DIRECT.GET.{stream}"

    def direct(self, stream: str, subject: str) -> str:
        """The newest message of one subject, from any copy of the stream (ADR-31). A permission can name it."""
        return f"{self.prefix}.DIRECT.GET.{stream}.{subject}"

    def consumer(self, verb: str, stream: str, consumer: str) -> str:
        """`INFO`, `CREATE`, `DELETE` or `MSG.NEXT` of a consumer; the last one is where pull requests go."""
        return f"{self.prefix}.CONSUMER.{verb}.{stream}.{consumer}"

    def every(self, calls: str) -> str:
        """All calls that begin like this, as a wildcard."""
        return f"{self.prefix}.{calls}.>"

    def direct_get(self, stream: str, subject: str = "") -> str:
        """A message of a stream that allows it, without its leader (ADR-31); the newest one of a `subject`."""
        return f"{self.prefix}.DIRECT.GET.{stream}.{subject}" if subject else f"{self.prefix}.DIRECT.GET.{stream}"


JETSTREAM = Calls("$JS.API")
"""The calls of the JetStream of the server that we are connected to."""
