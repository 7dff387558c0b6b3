"""The accounts of a hub, and what each of them may use of another. Pure.

Each site has a NATS account of its own. A user permission inside one account separates nothing: the server checks
neither the reply subject of a request nor its headers (nats-server 2.15.1). Between accounts passes only what one of
them exports and the other imports.

A site behind a leaf node has a second account, its *landing account*. Only that one takes messages from the leaf, for
two reasons (nats-server 2.15.1). Whoever answers a source can make the account that sources publish to any subject. And
a leaf may set the reply `$JS.ACK.<7 tokens>@<subject>`: the stream that takes its message stores it on that subject.
The hub's other accounts source from there what is on the site's own subjects; their own server applies this filter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from syncdaemon.base.units import Wrong
from syncdaemon.hub.site_list import HubSite
from syncdaemon.stream.calls import JETSTREAM

HUB, RECORDS, WORKER, AUDITOR, NOBODY = "HUB", "RECORDS", "WORKER", "AUDITOR", "NOBODY"
CONSUMER = "worker-staging"
CHECKPOINTS, COSIGNED, LEDGER, FLEET = "edge_checkpoints", "edge_cosigned", "edge_ledger", "edge_fleet"


class Share(NamedTuple):
    """`exporter` lets `importer` use this subject.

    `stream`: messages flow from the exporter to the importer; else it is a service, to which the importer publishes.
    `many`: a request gets several answers (`response_type: Stream`). `to`: what the subject is called at the importer,
    where it is not the same.
    """

    exporter: str
    importer: str
    subject: str
    stream: bool = False
    many: bool = False
    to: str = ""


class Layout(NamedTuple):
    """What the settings say: the stream, and where a site's messages and large files lie in it.

    `subject` and `bucket` are templates: `{site}` in both, `{sha256}` in the first.
    """

    stream: str
    subject: str
    bucket: str

    @classmethod
    def of(cls, stream: str, subject: str, bucket: str) -> Layout:
        """Raises Wrong where a subject or a bucket can't tell one site from another."""
        tokens = subject.split(".")
        if "{site}" not in tokens or tokens[-1] != "{sha256}" or subject.count("{") != 2:
            raise Wrong(
                f"{subject!r} does not separate sites", "use {site} as a token of its own, and {sha256} as the last one"
            )
        if "{site}" not in bucket:
            raise Wrong(f"the bucket {bucket!r} has no {{site}} in it", "a bucket belongs to one site")
        return cls(stream, subject, bucket)

    def own(self, site: str) -> str:
        """The subjects of a site's messages."""
        tokens = self.subject.split(".")
        return ".".join(tokens[: tokens.index("{site}") + 1]).replace("{site}", site) + ".>"

    def bucket_of(self, site: str) -> str:
        """The bucket of a site's large files."""
        return self.bucket.replace("{site}", site)

    def bucket_stream(self, site: str) -> str:
        """The stream that holds this bucket (ADR-20)."""
        return f"OBJ_{self.bucket_of(site)}"


def site_account(site: str) -> str:
    """The account that a direct site logs in to. Names of sites have no capital letters, so no two become equal."""
    return f"SITE_{site.upper()}"


def leaf_account(site: str) -> str:
    """The account that the leaf node of a site logs in to.

    It is another one than a direct site's, which may use more. A server that reads its configuration again ends no
    connection of a leaf node (nats-server 2.15.1): a site that becomes a direct one would still have its own there.
    """
    return f"LEAF_{site.upper()}"


def login_account(site: HubSite) -> str:
    """The account that this site logs in to."""
    return leaf_account(site.name) if site.leaf else site_account(site.name)


def landing_account(site: str) -> str:
    """The account that takes the messages of a site behind a leaf node, and holds nothing else."""
    return f"IN_{site.upper()}"


def accounts(sites: Sequence[HubSite]) -> list[str]:
    """All accounts of the hub, by name."""
    names = [HUB, RECORDS, WORKER, AUDITOR, NOBODY]
    for site in sites:
        names += [login_account(site), landing_account(site.name)] if site.leaf else [login_account(site)]
    return names


def shares(sites: Sequence[HubSite], layout: Layout) -> list[Share]:
    """Everything that passes between two accounts."""
    found = [*_worker(layout), *_auditor(layout)]
    for site in sites:
        account = login_account(site)
        first = landing_account(site.name) if site.leaf else RECORDS
        found += [_no_jetstream(account), *_records(site.name, account, first)]
        found += _behind_leaf(site.name, layout) if site.leaf else _direct(site.name, layout)
    return found


def patterns(layout: Layout) -> list[Share]:
    """What any site that connects directly, the workers and the auditor import, with `*` for what names a site."""
    found = [*_worker(layout), *_auditor(layout), *_direct("*", layout), *_records("*", site_account("*"), RECORDS)]
    return [share._replace(subject=_whole_wildcards(share.subject)) for share in found]


def _whole_wildcards(subject: str) -> str:
    """A wildcard is a token of its own: `OBJ_edge_replay_*` is `*`."""
    return ".".join("*" if "*" in token else token for token in subject.split("."))


def _no_jetstream(account: str) -> Share:
    """Without this import, the server answers each API call of an account without JetStream twice.

    The first answer is 503/10039, while the call itself is executed (nats-server 2.15.1).
    """
    return Share(NOBODY, account, JETSTREAM.account)


def records_of(site: str) -> dict[str, str]:
    """What a site tells of itself: by stream, the subjects of this site in it."""
    return {
        CHECKPOINTS: f"edge.checkpoint.{site}",
        LEDGER: f"edge.ledger.{site}.>",
        FLEET: f"edge.status.{site}",
    }


def _records(site: str, account: str, exporter: str) -> Iterator[Share]:
    """What a site tells of itself, and reads back; `exporter` is the account in which it is stored first."""
    kept = records_of(site)
    for subject in kept.values():
        yield Share(exporter, account, subject)
    for stream in (CHECKPOINTS, LEDGER):
        yield Share(exporter, account, JETSTREAM.direct_get(stream, kept[stream]))
    yield Share(RECORDS, account, JETSTREAM.direct_get(COSIGNED, f"edge.cosigned.{site}.*"))


def _direct(site: str, layout: Layout) -> Iterator[Share]:
    """A site that connects to the hub itself: its own messages and its own bucket."""
    account, bucket = site_account(site), layout.bucket_stream(site)
    yield Share(HUB, account, layout.own(site))
    yield Share(HUB, account, JETSTREAM.direct_get(layout.stream, layout.own(site)))
    yield Share(HUB, account, f"$O.{layout.bucket_of(site)}.>")
    for call in ("INFO", "MSG.GET", "PURGE", "MSG.DELETE"):
        yield Share(HUB, account, JETSTREAM.stream(call, bucket))
    yield Share(HUB, account, JETSTREAM.direct_get(bucket), many=True)
    yield Share(HUB, WORKER, JETSTREAM.direct_get(bucket), many=True)


def _behind_leaf(site: str, layout: Layout) -> Iterator[Share]:
    """A site with a leaf node: the landing account sources from the leaf, and the hub from the landing account.

    Each account that sources needs the flow control of every stream that it sources; else the source stops for good
    after some hundred kB (10228, nats-server 2.15.1).
    """
    account, landing = leaf_account(site), landing_account(site)
    created = f"$JS.{site}.API.CONSUMER.CREATE.>"
    yield Share(account, landing, created, to=f"{api_of_leaf(site)}.CONSUMER.CREATE.>")
    for stream in (layout.stream, layout.bucket_stream(site)):
        yield Share(account, landing, f"$JS.FC.{stream}.>")
    yield Share(account, landing, f"{deliveries_of_leaf(site)}.>", stream=True)

    yield from _sourced(landing, HUB, api_of_landing(site), deliveries_of_landing(site))
    yield from _sourced(landing, RECORDS, api_of_records(site), deliveries_of_records(site))

    yield Share(landing, account, JETSTREAM.direct_get(layout.stream, layout.own(site)))
    for reader in (WORKER, HUB):  # at the hub, `verify --content` reads large files
        yield Share(landing, reader, JETSTREAM.direct_get(layout.bucket_stream(site)), many=True)


def _sourced(landing: str, importer: str, api: str, deliveries: str) -> Iterator[Share]:
    """The importer, an account of the hub's own, sources streams of the landing account.

    These are as few as can be, since a JWT with those of all sites has at most 1 MiB.
    """
    yield Share(landing, importer, JETSTREAM.every("CONSUMER.CREATE"), to=f"{api}.CONSUMER.CREATE.>")
    yield Share(landing, importer, "$JS.FC.>")
    yield Share(landing, importer, f"{deliveries}.>", stream=True)


def api_of_leaf(site: str) -> str:
    """Where the landing account finds the API of the leaf's JetStream."""
    return f"JSA.{site}"


def deliveries_of_leaf(site: str) -> str:
    """Below which the leaf sends what the landing account sources."""
    return f"JSD.{site}"


def api_of_landing(site: str) -> str:
    """Where the hub finds the API of the landing account's JetStream."""
    return f"JSIA.{site}"


def deliveries_of_landing(site: str) -> str:
    """Below which the landing account sends what the hub sources."""
    return f"JSI.{site}"


def api_of_records(site: str) -> str:
    """Where `RECORDS` finds the API of the landing account's JetStream."""
    return f"JSRA.{site}"


def deliveries_of_records(site: str) -> str:
    """Below which the landing account sends what `RECORDS` sources."""
    return f"JSR.{site}"


def _worker(layout: Layout) -> Iterator[Share]:
    """The workers at the other end share one consumer."""
    yield _no_jetstream(WORKER)
    yield Share(HUB, WORKER, JETSTREAM.consumer("MSG.NEXT", layout.stream, CONSUMER), many=True)
    yield Share(HUB, WORKER, JETSTREAM.consumer("INFO", layout.stream, CONSUMER))
    yield Share(HUB, WORKER, f"$JS.ACK.{layout.stream}.{CONSUMER}.>")


def _auditor(layout: Layout) -> Iterator[Share]:
    """The auditor reads everything that is to be proved, and writes its own signatures."""
    yield _no_jetstream(AUDITOR)
    yield Share(RECORDS, AUDITOR, "edge.cosigned.>")
    for stream in (CHECKPOINTS, LEDGER):
        yield Share(RECORDS, AUDITOR, JETSTREAM.direct_get(stream), many=True)
    yield Share(HUB, AUDITOR, JETSTREAM.direct_get(layout.stream), many=True)
