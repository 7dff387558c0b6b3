"""This machine, judged: directories, file system, ledger, and what waits."""

from __future__ import annotations

from collections.abc import Iterator

from syncdaemon.base.units import duration_in_words, size_in_words
from syncdaemon.check.diagnosis.facts import Folder, Intended, LedgerFacts, ReplayFacts
from syncdaemon.check.diagnosis.finding import Finding, failure, ok, warning

_CLOCK = 1.0  # seconds that the file system's clock may differ
_STALE = 600.0  # seconds that a file may wait while nothing is delivered
_UNSEEN = "a rename or a close for writing is waited for, or SYNC_SETTLE_IN_PLACE_SECONDS where nothing was seen"
_FEW_FILES = 10_000
_MANY = 0.8  # of the folders that can be watched


def judge_folder(name: str, setting: str, folder: Folder, min_free: int, pauses: bool) -> Iterator[Finding]:
    """Whether it can be written to, and for how long; `pauses`: delivery does while it is full."""
    if folder.problem:
        yield failure(name, f"{setting}: {folder.problem}", f"name a directory as {setting} that can be written to")
        return
    yield ok(name, f"{folder.path} can be written to")
    if folder.free is None:
        return
    free = f"{size_in_words(folder.free)} free"
    if folder.free < min_free:
        said = f"{free} on the disk of {folder.path}, less than SYNC_MIN_FREE_BYTES ({size_in_words(min_free)})"
        bad, effect = (failure, "; delivery pauses") if pauses else (warning, "; producers may soon find no room")
        yield bad(f"{name}_space", said + effect, "make room, or lower SYNC_MIN_FREE_BYTES")
    else:
        yield ok(f"{name}_space", free)
    if folder.files < _FEW_FILES:
        said = f"the disk of {folder.path} takes {folder.files} more files: its inodes run out, though {free}"
        yield warning(f"{name}_inodes", said, "remove needless files from this disk, or use one with more inodes")


def judge_replay(replay: ReplayFacts, wanted: Intended) -> Iterator[Finding]:
    """The replay directory's file system, and whether we can see what is dropped there."""
    if replay.folder.problem:
        return
    yield _shared(replay)
    yield _moves(replay)
    yield _leases(replay)
    yield _watch(replay, wanted)
    yield _file_clock(replay)


def _shared(replay: ReplayFacts) -> Finding:
    if replay.danger:
        return warning("shared", replay.danger, replay.danger_cure)
    return ok("shared", "other users can do no harm in the replay directory")


def _moves(replay: ReplayFacts) -> Finding:
    if replay.unmovable:
        said = f"files can't be moved into .syncdaemon: {replay.unmovable}"
        return failure("moves", said, "keep .syncdaemon on the file system of the replay directory, in the same mount")
    if replay.mounts:
        said = f"files below {', '.join(replay.mounts)} are on another mount and can't be moved away"
        return failure("moves", said, "mount it elsewhere, and give it a daemon of its own")
    if replay.stuck:
        more = f", and {replay.stuck_folders - 1} more folders like it" if replay.stuck_folders > 1 else ""
        return failure("moves", f"files can't be moved out of a folder: {replay.stuck}{more}", replay.stuck_cure)
    if replay.unmovable is None:
        return ok("moves", "one file system; no daemon has run here yet")
    return ok("moves", "a rename, within one file system")


def _leases(replay: ReplayFacts) -> Finding:
    if replay.blind:
        said = "this system shows neither who writes to a file nor its close: a file that was quiet for "
        remedy = "have producers rename complete files, and deliver evidence from Linux"
        return warning("leases", f"{said}SYNC_SETTLE_SECONDS counts as complete", remedy)
    if replay.leases:
        said = f"no leases on {replay.kind or 'this file system'}: writers can't be seen ({replay.leases}); {_UNSEEN}"
        return warning("leases", said, "have producers rename complete files, on this machine")
    return ok("leases", f"a file of the daemon's own user that somebody has open is known; of other users', {_UNSEEN}")


def _watch(replay: ReplayFacts, wanted: Intended) -> Finding:
    scans = f"files are found by the scan every {duration_in_words(wanted.rescan)}"
    if replay.watch:
        remedy = "raise fs.inotify.max_user_watches or fs.inotify.max_user_instances (sysctl)"
        return warning("watch", f"the directory can't be watched: {replay.watch}; {scans}", remedy)
    if replay.watches is not None and replay.folders > _MANY * replay.watches:
        said = f"{replay.folders} folders, and fs.inotify.max_user_watches is {replay.watches}"
        return warning("watch", f"{said}; beyond it {scans}", "raise fs.inotify.max_user_watches (sysctl)")
    if replay.remote:
        said = f"{replay.kind} tells nothing of what other machines drop; {scans}"
        return warning("watch", said, "lower SYNC_RESCAN_SECONDS, or run the daemon where they drop")
    return ok("watch", f"{replay.folders} folders to watch, {replay.watches or 'any number'} can be")


def _file_clock(replay: ReplayFacts) -> Finding:
    ahead = replay.clock_ahead or 0.0
    if abs(ahead) <= _CLOCK:
        return ok("file_clock", "that of this machine")
    side = "ahead of" if ahead > 0 else "behind"
    said = f"the file system's clock is {duration_in_words(abs(ahead))} {side} this machine's"
    return warning("file_clock", f"{said}; the quiet time is counted by it", "set both (NTP)")


def judge_work(replay: ReplayFacts, ledger: LedgerFacts) -> Iterator[Finding]:
    """What is under way, and what was done last."""
    if not replay.folder.problem:
        if replay.running:
            yield ok("daemon", "one runs on the replay directory")
        else:
            yield warning("daemon", "none runs on the replay directory", "start `syncdaemon run`")
    if not ledger.folder.problem:
        yield from _ledger(ledger)
        yield _last_receipt(replay, ledger)
    if replay.quarantined:
        remedy = "`syncdaemon quarantine list` tells why, `syncdaemon quarantine requeue` sends them again"
        yield warning("quarantine", f"{replay.quarantined} refused files", remedy)
    elif not replay.folder.problem:
        yield ok("quarantine", "empty")


def _ledger(ledger: LedgerFacts) -> Iterator[Finding]:
    if ledger.damage:
        remedy = "keep the file as it is, see `syncdaemon verify`; the daemon does not start on a damaged ledger"
        yield failure("chain", ledger.damage, remedy)
    elif ledger.unknown:
        remedy = "use the version of syncdaemon that wrote it, or a later one"
        yield warning("chain", f"{ledger.unknown}; the rows hold together", remedy)
    elif ledger.file:
        yield ok("chain", f"{ledger.file}: {ledger.rows} rows hold together; `syncdaemon verify` checks all files")
    else:
        yield ok("chain", "no ledger yet")


def _last_receipt(replay: ReplayFacts, ledger: LedgerFacts) -> Finding:
    count = f"{replay.waiting} files wait" if replay.counted_all else f"at least {replay.waiting} files wait"
    waits = f"{count}, the oldest for {duration_in_words(replay.oldest)}" if replay.waiting else "no file waits"
    if ledger.last_receipt is None:
        said, since = "none yet" if not ledger.file else "none in the newest rows of the ledger", float("inf")
    else:
        said, since = f"{duration_in_words(max(0.0, ledger.last_receipt))} ago", ledger.last_receipt
    if replay.waiting and min(replay.oldest, since) > _STALE:
        remedy = "see `syncdaemon status` and the daemon's log for what holds them up"
        return warning("last_receipt", f"{said}, while {waits}", remedy)
    return ok("last_receipt", f"{said}; {waits}")
