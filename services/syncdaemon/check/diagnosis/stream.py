"""The stream as it is, judged against the promises. Its fields are those of JetStream's STREAM.INFO (API v1)."""

from __future__ import annotations

from collections.abc import Iterator
from math import isinf

from syncdaemon.base.units import duration_in_words, size_in_words
from syncdaemon.check.diagnosis.facts import BucketFacts, Intended, LinkFacts, Rights, StreamFacts, SyncFacts
from syncdaemon.check.diagnosis.finding import Finding, failure, ok, warning
from syncdaemon.stream.calls import Calls
from syncdaemon.stream.room import FULL_SOON

_DEFAULT_SYNC = 120.0  # seconds between two syncs of a server without a `sync_interval` (nats-server 2.15)
_UNSEEN = "nothing, where sites share the stream by an account each: `syncdaemon doctor` at the hub checks it"
_SPARE = 30.0  # seconds that a hold should be longer than that


def judge_stream(stream: StreamFacts | None, rights: Rights, link: LinkFacts, wanted: Intended) -> Iterator[Finding]:
    """Whether it is there, takes our messages, and keeps them."""
    if stream is None:
        return
    name = wanted.stream_name
    if stream.unseen and rights.publish == "":
        said = (
            f"the settings of {name} are not seen, and it takes our messages: the promises are not checked against them"
        )
        yield warning("stream", said, _UNSEEN)
    elif stream.problem:
        asked = Calls.of(wanted.js_domain).stream("INFO", name)
        remedy = f"allow publishing to {asked}, see that JetStream is on, or set NATS_JS_DOMAIN where it is elsewhere"
        yield warning("stream", f"{name} can't be looked at: {stream.problem}", remedy)
    elif stream.missing and wanted.create and stream.rivals:
        rivals = ", ".join(stream.rivals)
        said = f"there is no {name}, and it can't be created: {rivals} has subjects that overlap ({wanted.created})"
        yield failure("stream", said, f"set SYNC_STREAM={stream.rivals[0]}, or another SYNC_SUBJECT")
    elif stream.missing and wanted.create:
        yield warning("stream", f"there is no {name} yet", f"`syncdaemon run` creates it: {wanted.created}")
    elif stream.missing:
        yield failure("stream", f"there is no {name}, and SYNC_STREAM_CREATE=false", "create it")
    else:
        yield ok("stream", f"{name}: {stream.state.get('messages', 0)} messages")
        yield _subject(stream, wanted)
        yield _sealed(stream)
        yield _no_ack(stream)
        yield _retention(stream)
        yield _dedupe(stream, wanted)
        yield _max_age(stream)
        yield _discard(stream, wanted)
        yield _room(stream)
        yield _max_msg_size(stream, link)
        yield _storage(stream)
        yield _persist_mode(stream, wanted)
        yield _replicas(stream, link)
        yield _deny_delete(stream)
        if stream.others and stream.config.get("allow_rollup_hdrs"):
            yield _roll_ups(stream)


def _roll_ups(stream: StreamFacts) -> Finding:
    said = f"the stream allows roll-ups and takes {stream.others}: whoever may publish in it can empty it"
    return warning("roll_ups", said, "take allow_rollup_hdrs away, or give each site a stream of its own")


def _subject(stream: StreamFacts, wanted: Intended) -> Finding:
    subjects = ", ".join(stream.config.get("subjects") or ()) or "no subject"
    if stream.captured:
        return ok("subject", f"{wanted.subject} is captured ({subjects})")
    remedy = f"add {wanted.subject} to its subjects, or set SYNC_SUBJECT or SYNC_STREAM to match"
    return failure("subject", f"the stream captures {subjects}, not {wanted.subject}", remedy)


def _sealed(stream: StreamFacts) -> Finding:
    if stream.config.get("sealed"):
        return failure("sealed", "the stream is sealed: it takes no message ever again", "name another SYNC_STREAM")
    return ok("sealed", "no")


def _no_ack(stream: StreamFacts) -> Finding:
    if stream.config.get("no_ack"):
        said = "the stream acknowledges nothing, so no delivery can be proved"
        return failure("no_ack", said, "create a stream without no_ack, and name it as SYNC_STREAM")
    return ok("no_ack", "no: every message is acknowledged")


def _retention(stream: StreamFacts) -> Finding:
    retention = stream.config.get("retention", "limits")
    if retention == "limits":
        return ok("retention", "limits: messages stay when they have been read")
    said = f"{retention}: a message is gone, and forgotten, when it has been consumed"
    remedy = "publish to a limits stream, and let the consumers' stream source it"
    return warning("retention", said, remedy)


def _dedupe(stream: StreamFacts, wanted: Intended) -> Finding:
    limits = stream.config.get("retention", "limits") == "limits"
    if isinf(stream.horizon) and wanted.per_digest:
        return ok("dedupe", "an outage of any length makes no second copy")
    if isinf(stream.horizon):
        window = duration_in_words(stream.config.get("duplicate_window", 0) / 1e9)
        said = f"an outage of any length makes no second copy, but equal files over {window} apart are a message each"
        return warning("dedupe", said, "keep {sha256} in SYNC_SUBJECT: then the stream refuses the second")
    said = f"an outage of more than {duration_in_words(stream.horizon)} may make second copies"
    if stream.evicts:
        limits = ", ".join(stream.evicts)
        said = f"{said}: at its limit ({limits}) the stream throws away messages, and forgets them"
        return warning("dedupe", said, "set discard to new, and discard_new_per_subject: then it refuses")
    if not limits:
        return warning("dedupe", f"{said}, so may a restart of the server", "use a stream with limits retention")
    if not wanted.per_digest and not stream.config.get("max_age"):
        return warning("dedupe", said, "keep {sha256} in SYNC_SUBJECT, or let the daemon read the stream (may_consume)")
    return warning("dedupe", said, "see that max_age is above the longest outage of a site (docs/SCALING.md)")


def _max_age(stream: StreamFacts) -> Finding:
    age = stream.config.get("max_age", 0) / 1e9
    if not age:
        return ok("max_age", "none: messages stay for ever")
    said = f"a message is deleted after {duration_in_words(age)}, read or not"
    return warning("max_age", said, "see that its readers, a hub among them, are never away for so long")


def _discard(stream: StreamFacts, wanted: Intended) -> Finding:
    config = stream.config
    if config.get("discard", "old") == "new":
        return ok("discard", "new: a full stream refuses, and the files wait")
    fatal = ["max_msgs", "max_bytes"] if wanted.per_digest else ["max_msgs", "max_bytes", "max_msgs_per_subject"]
    limits = [name for name in fatal if config.get(name, -1) > 0]
    if not limits:
        return ok("discard", "old, and the stream has no limit that would make it discard")
    said = f"old: at its limit ({', '.join(limits)}) the stream throws away acknowledged messages, read or not"
    return warning("discard", said, "set discard to new: then it refuses, and the files wait")


def _room(stream: StreamFacts) -> Finding:
    config, state = stream.config, stream.state
    fullest, said = 0.0, []
    for limit, field, show in (("max_bytes", "bytes", size_in_words), ("max_msgs", "messages", str)):
        most = config.get(limit, -1)
        if most > 0:
            used = state.get(field, 0)
            fullest = max(fullest, used / most)
            said.append(f"{show(used)} of {show(most)}" + ("" if field == "bytes" else " messages"))
    if not said:
        return ok("room", f"{size_in_words(state.get('bytes', 0))} stored, no limit")
    if fullest < FULL_SOON or config.get("discard", "old") == "old":
        return ok("room", ", ".join(said))
    full = f"{', '.join(said)}: nearly full" if fullest < 1 else f"{', '.join(said)}: full, nothing is taken"
    return (failure if fullest >= 1 else warning)("room", full, "raise its limit, or remove messages; the files wait")


def _max_msg_size(stream: StreamFacts, link: LinkFacts) -> Finding:
    most = stream.config.get("max_msg_size", -1)
    if most <= 0 or most >= link.max_payload:
        return ok("max_msg_size", "no lower than the server's max_payload")
    said = f"the stream takes messages of up to {size_in_words(most)}, the server {size_in_words(link.max_payload)}"
    return warning("max_msg_size", said, "raise or remove max_msg_size: larger files go as objects, which costs more")


def _storage(stream: StreamFacts) -> Finding:
    if stream.config.get("storage", "file") == "file":
        return ok("storage", "file")
    said = "memory: a restart of the server loses every message, also those acknowledged long ago"
    return failure("storage", said, "create a stream with file storage, and name it as SYNC_STREAM")


def _persist_mode(stream: StreamFacts, wanted: Intended) -> Finding:
    if stream.config.get("persist_mode", "default") in ("default", ""):
        return ok("persist_mode", "default: written before it is acknowledged")
    said = "async: acknowledged before it is written, so a crash of the server loses messages"
    remedy = "create the stream with the default persist_mode"
    return (warning if wanted.hold or wanted.archive else failure)("persist_mode", said, remedy)


def _replicas(stream: StreamFacts, link: LinkFacts) -> Finding:
    count = stream.config.get("num_replicas", 1)
    if stream.lagging:
        said = f"{count}, of which {', '.join(stream.lagging)} are not up to date"
        return warning("replicas", said, "see after these servers")
    if count == 1 and link.cluster:
        said = f"1, on one server of cluster {link.cluster}"
        return warning("replicas", said, "3 replicas outlive the loss of a server and of its disk")
    return ok("replicas", str(count))


def _deny_delete(stream: StreamFacts) -> Finding:
    if stream.config.get("deny_delete"):
        return ok("deny_delete", "yes: no client can delete a message")
    return warning("deny_delete", "no: whoever may use the API can delete evidence", "set deny_delete on the stream")


def judge_sync(sync: SyncFacts | None, link: LinkFacts, wanted: Intended) -> Iterator[Finding]:
    """Whether a delivered file is held for as long as the server may lose it in a power cut."""
    if sync is not None and sync.problem:
        yield warning("sync", f"NATS_MONITOR_URL: {sync.problem}", "name the monitoring address of NATS_URL's server")
    elif sync is not None and link.server_id and sync.server_id != link.server_id:
        said = f"NATS_MONITOR_URL is that of another server than the one that answers ({sync.server})"
        yield warning("sync", said, "see that all servers of the cluster have the same sync_interval")
    else:
        yield _hold(sync, wanted)


def _hold(sync: SyncFacts | None, wanted: Intended) -> Finding:
    hold = f"SYNC_HOLD_SECONDS={wanted.hold:g}"
    if sync is not None and sync.always:
        right = "is right" if not wanted.hold else "is not needed, 0 is right"
        return ok("sync", f"always: an acknowledged message is on the server's disk; {hold} {right}")
    if wanted.archive:
        return ok("sync", "SYNC_AFTER=archive keeps every file, whatever the server loses")
    seen = sync is not None
    interval = sync.interval if sync is not None else _DEFAULT_SYNC
    every = f"the server syncs {'' if seen else 'by default '}every {duration_in_words(interval)}"
    unseen = "" if seen else "; whether it syncs always can't be seen without NATS_MONITOR_URL"
    if wanted.hold >= interval:
        return ok("sync", f"{every}, and a delivered file is held for {duration_in_words(wanted.hold)}{unseen}")
    said = f"{every}, so {hold} is not right: a power cut there can lose acknowledged messages{unseen}"
    return warning("sync", said, f"set SYNC_HOLD_SECONDS={interval + _SPARE:g}, or sync_interval: always at the server")


def judge_bucket(bucket: BucketFacts | None, wanted: Intended) -> Iterator[Finding]:
    """Whether files too large for a message have where to go."""
    if bucket is None:
        return
    if bucket.missing and wanted.create:
        yield ok("bucket", "none yet: it is made for the first file that is too large for a message")
    elif bucket.missing:
        said = "none, and SYNC_STREAM_CREATE=false: a file that is too large for a message waits"
        yield warning("bucket", said, f"nats object add {bucket.name}, or SYNC_STREAM_CREATE=true")
    elif bucket.problem:
        effect = "a file that is too large for a message waits, or is refused"
        yield warning("bucket", f"{bucket.problem}: {effect}", f"let the daemon use the stream OBJ_{bucket.name}")
    elif bucket.instead_of:
        said = f"large files become objects of {bucket.name}, which every site here may write into"
        yield warning("bucket", said, f"make {bucket.instead_of}: then new files go there, and {bucket.name} is read")
    else:
        yield ok("bucket", f"files that are too large for a message become objects of {bucket.name}")
    if bucket.orphans:
        size = size_in_words(bucket.orphan_bytes)
        said = f"{bucket.orphans} objects of {bucket.name} ({size}) are named by no message of {wanted.stream_name}"
        yield warning(
            "bucket_orphans", said, "`syncdaemon bucket orphans` lists them, --delete takes out the forgotten"
        )
