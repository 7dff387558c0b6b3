"""What each part needs, out of the settings: the parts know nothing of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from syncdaemon.base.errors import SettingsError
from syncdaemon.link import LinkSettings
from syncdaemon.publish import PROBE_ID
from syncdaemon.publish.message import MessageSettings
from syncdaemon.publish.objects import ObjectsSettings
from syncdaemon.settings.values import Settings
from syncdaemon.spool.spool import SpoolSettings
from syncdaemon.stream.buckets import BUCKET_OF_A_SITE, ReadableBuckets
from syncdaemon.stream.fetched import Place
from syncdaemon.stream.object_format import BucketNames
from syncdaemon.stream.prepare import StreamSettings

_FORMER = BucketNames("edge_replay")  # of all sites, in versions before this one


def spool(settings: Settings) -> SpoolSettings:
    """What the replay directory needs of the settings."""
    return SpoolSettings(
        replay_dir=os.fsencode(os.path.abspath(settings.sync_replay_dir)),
        quiet=settings.sync_settle_seconds,
        in_place=settings.sync_settle_in_place_seconds,
        rescan=settings.sync_rescan_seconds,
        hold=settings.sync_hold_seconds,
        archive=settings.sync_after == "archive",
        newest_first=settings.sync_order == "newest",
        compress=settings.sync_compress == "zstd",
        archive_keep=settings.sync_archive_keep,
        prune_empty=settings.sync_prune_empty,
    )


def link(settings: Settings) -> LinkSettings:
    """What the link needs of the settings."""
    return LinkSettings(
        urls=settings.nats_urls,
        name=f"syncdaemon {settings.site}",
        creds=settings.nats_creds,
        nkey_seed=settings.nats_nkey_seed,
        user=settings.nats_user,
        password=settings.nats_password.get_secret_value() if settings.nats_password else None,
        token=settings.nats_token.get_secret_value() if settings.nats_token else None,
        tls_ca=settings.nats_tls_ca,
        tls_cert=settings.nats_tls_cert,
        tls_key=settings.nats_tls_key,
        bwlimit=settings.sync_bwlimit,
        js_domain=settings.nats_js_domain or "",
        tls_first=settings.nats_tls_first,
        probe_seconds=settings.sync_probe_seconds,
    )


def message(settings: Settings) -> MessageSettings:
    """What makes a message of a file."""
    return MessageSettings(
        site=settings.site,
        stream=settings.sync_stream,
        identity=settings.sync_msg_id,
        per_digest=settings.subject_is_per_digest,
        subject_for=settings.subject_for,
        bucket=bucket(settings),
        former=former(settings),
        freed_counts=settings.sync_tombstones == "delivered",
    )


def stream(settings: Settings) -> StreamSettings:
    """The stream, and what it is made like where it is missing."""
    return StreamSettings(
        name=settings.sync_stream,
        wildcard=settings.subject_for("*") if settings.sync_stream_free else settings.subject_wildcard,
        own=settings.subject_for("*"),
        create=settings.sync_stream_create,
        per_digest=settings.subject_is_per_digest,
        max_age=settings.sync_stream_max_age,
        max_bytes=settings.sync_stream_max_bytes,
        max_msgs=settings.sync_stream_max_msgs,
        replicas=settings.sync_stream_replicas,
        free=settings.sync_stream_free,
        site_form=settings.subject_form,
    )


def hub(settings: Settings) -> Place | None:
    """What to ask the hub; None where there is none behind the site's own server."""
    if not settings.nats_hub_domain:
        return None
    own = settings.subject_for("*")
    own = own.removesuffix("*") + ">" if own.endswith(".*") else own
    return Place(settings.sync_stream, own, settings.subject_for(PROBE_ID), settings.nats_hub_domain)


def bucket(settings: Settings) -> BucketNames:
    """Where the content of files lies that are too large for a message."""
    return BucketNames(settings.sync_bucket.replace("{site}", settings.site))


def subject_of_content(settings: Settings) -> Callable[[str], str] | None:
    """The subject of the message that has the content with this digest; None where that is not known by the digest."""
    by_content = settings.sync_msg_id == "content" and settings.subject_is_per_digest
    return settings.subject_for if by_content else None


def former(settings: Settings) -> BucketNames | None:
    """The bucket of versions before this one; None where the settings name a bucket themselves."""
    return _FORMER if settings.sync_bucket == BUCKET_OF_A_SITE else None


def buckets(patterns: Sequence[str]) -> ReadableBuckets:
    """The buckets that are read where a message names one. Raises SettingsError for what is no pattern."""
    try:
        return ReadableBuckets.of(patterns, BUCKET_OF_A_SITE)
    except ValueError as error:
        raise SettingsError(f"--bucket: {error}") from None


def objects(settings: Settings) -> ObjectsSettings:
    """The bucket for files that no message can hold.

    It counts as the site's own where its name has the site in it, as `receive` reads it for this site alone.
    """
    own = bucket(settings)
    return ObjectsSettings(
        site=settings.site,
        create=settings.sync_stream_create,
        replicas=settings.sync_stream_replicas,
        bucket=own,
        shared="{site}" not in settings.sync_bucket and own.bucket != BUCKET_OF_A_SITE.replace("{site}", settings.site),
        former=former(settings),
    )
