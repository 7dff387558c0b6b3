"""What the cosigner has accepted, on disk before it signs: a locked folder with a small file for each site.

A cosigner that forgets what it signed can be brought to sign a second history. So a folder without a state is no state:
the operator says that it may begin (`--accept-state`). The same holds for a copy of the folder: the lock's own file has
another number on disk then, which is written down in `state.json`. What a whole disk from a backup has forgotten shows
in `edge_cosigned`, where the auditor looks before it signs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from syncdaemon.base.disk import fsync_dir, lock_file, make_dirs, read_small, write_durably
from syncdaemon.base.errors import SettingsError
from syncdaemon.evidence.strict import MOST_BYTES, BadEvidence, base64_text
from syncdaemon.hub.audit.judge import LogHead

_MOST_STATE = 8 * MOST_BYTES
_NUMBERS = ("seq", "time", "heard", "unchecked")
_ACCEPT = "once, by hand, add --accept-state; it then begins with what edge_cosigned has of its own signatures"


class Conflict(NamedTuple):
    """What people must look at, until `audit accept`. `note`: the checkpoint in question, as far as it is one."""

    reason: str
    why: str
    seq: int
    note: str = ""


class SiteBook(NamedTuple):
    """What is known of a site.

    `head`: accepted last; None: nothing yet. `seq`: up to which message of `edge_checkpoints` this counts. `ahead`: the
    head did not come from that stream as it is now, so what is smaller there is only older. `time`: of the last
    cosignature, `heard`: when the hub got the last checkpoint that goes on well; in seconds since 1970. `pending`: the
    end of a log that was begun anew, which is not followed until the operator says so. `unchecked`: checkpoints that
    could not be held against an earlier one.
    """

    head: LogHead | None = None
    seq: int = 0
    ahead: bool = False
    time: int = 0
    heard: int = 0
    pending: LogHead | None = None
    conflict: Conflict | None = None
    unchecked: int = 0

    def to_json(self) -> bytes:
        """As it is written."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in (*_NUMBERS, "ahead")}
        for name, head in (("head", self.head), ("pending", self.pending)):
            fields[name] = head.text if head else None
        fields["conflict"] = self.conflict._asdict() if self.conflict else None
        return json.dumps(fields, sort_keys=True, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def of_json(cls, data: bytes) -> SiteBook:
        """Raises ValueError or BadEvidence where it is damaged."""
        fields = _document(data)
        if not isinstance(fields, Mapping):
            raise ValueError("no state")
        heads = {
            name: LogHead.parse(str(note).encode()) if (note := fields[name]) else None for name in ("head", "pending")
        }
        numbers = {name: fields[name] for name in _NUMBERS}
        if any(type(number) is not int or number < 0 for number in numbers.values()):
            raise ValueError("a number is none")
        conflict = Conflict(**fields["conflict"]) if fields["conflict"] else None
        return cls(
            **numbers, head=heads["head"], pending=heads["pending"], ahead=fields["ahead"] is True, conflict=conflict
        )


class Cursor(NamedTuple):
    """The last message of `edge_checkpoints` that was read: its sequence, and the digest of what it is."""

    seq: int = 0
    digest: str = ""


class State:
    """The state of one cosigning key, locked from `open_state` to `close`.

    What is `put` counts at once and is on disk after `flush`: before that, nothing may be signed.
    """

    def __init__(self, folder: Path, lock: int, sites: dict[str, SiteBook], cursor: Cursor) -> None:
        self._folder, self._lock = folder, lock
        self._sites = sites
        self._dirty: set[str] = set()
        self.cursor = cursor

    @property
    def read_to(self) -> int:
        """The message of `edge_checkpoints` that was read last."""
        return self.cursor.seq

    def of(self, site: str) -> SiteBook:
        """What is known of a site."""
        return self._sites.get(site, SiteBook())

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._sites))

    def put(self, site: str, new: SiteBook) -> None:
        """What is known of a site from now on."""
        self._sites[site] = new
        self._dirty.add(site)

    def flush(self) -> None:
        """What was put is on disk when this returns. Raises OSError; then nothing may be signed that depends on it."""
        for site in sorted(self._dirty):
            path = self._folder / "sites" / f"{site}.json"
            write_durably(os.fsencode(path), self._sites[site].to_json(), mode=0o600)
            self._dirty.discard(site)

    def move(self, cursor: Cursor) -> None:
        """Reading goes on behind this message after the next start. Raises OSError."""
        self.flush()
        write_durably(os.fsencode(self._folder / "cursor.json"), json.dumps(cursor).encode() + b"\n", mode=0o600)
        self.cursor = cursor

    def accepted(self, site: str) -> str:
        """The origin that the operator wants to follow for this site, or `*` for "seen"; empty: no order."""
        with suppress(OSError, UnicodeDecodeError):
            return (self._folder / "accept" / site).read_bytes()[:MOST_BYTES].decode().strip()
        return ""

    def done(self, site: str) -> None:
        """The operator's order is carried out."""
        with suppress(FileNotFoundError):
            os.unlink(self._folder / "accept" / site)
        fsync_dir(self._folder / "accept")

    def close(self) -> None:
        """Lets go of the lock."""
        os.close(self._lock)


def open_state(folder: Path, public: bytes, *, accept: bool) -> State:
    """The state of the cosigner with this key, which no other process has meanwhile.

    `accept`: the operator says that a missing or copied state may be used. Raises SettingsError.
    """
    root = folder.absolute()
    try:
        for name in ("sites", "accept"):
            make_dirs(os.fsencode(root / name))
        lock = lock_file(root / "lock", mode=0o600)
    except BlockingIOError:
        raise SettingsError(f"--state: {folder}: another auditor has it; one state, one auditor") from None
    except OSError as error:
        raise SettingsError(f"--state: {folder}: {error.strerror}") from None
    try:
        _check_own(root, lock, public, accept=accept)
        return State(root, lock, _sites(root), _cursor(root))
    except OSError as error:
        os.close(lock)
        raise SettingsError(f"--state: {folder}: {error.strerror}") from None
    except BaseException:
        os.close(lock)
        raise


def _check_own(root: Path, lock: int, public: bytes, *, accept: bool) -> None:
    """Raises SettingsError where this is not the state that this key's cosigner left here."""
    mark = {"v": 1, "key": base64_text(public), "lock": os.fstat(lock).st_ino}
    try:
        with _folder(root) as folder:
            found = _document(read_small(b"state.json", folder, MOST_BYTES))
    except FileNotFoundError:
        found = None
    except ValueError:
        raise SettingsError(f"--state: {root}/state.json is damaged; {_ACCEPT}") from None
    if found == mark:
        return
    if isinstance(found, Mapping) and found.get("key") != mark["key"]:
        raise SettingsError(f"--state: {root} is the state of another key; each cosigning key has its own")
    if not accept:
        what = "has no state" if found is None else "is a copy of a state: what was signed since is not in it"
        raise SettingsError(f"--state: {root} {what}. Is this the first start, or is the state lost? Then, {_ACCEPT}")
    write_durably(os.fsencode(root / "state.json"), json.dumps(mark).encode() + b"\n", mode=0o600)


def _sites(root: Path) -> dict[str, SiteBook]:
    found = {}
    with _folder(root / "sites") as folder:
        for path in sorted((root / "sites").glob("*.json")):
            try:
                found[path.stem] = SiteBook.of_json(read_small(os.fsencode(path.name), folder, _MOST_STATE))
            except (ValueError, KeyError, TypeError, BadEvidence):
                raise SettingsError(f"--state: {path} is damaged: restore it, or remove it and {_ACCEPT}") from None
    return found


def _cursor(root: Path) -> Cursor:
    """Where it is damaged or missing, everything is read again, and judged as before."""
    with suppress(OSError, ValueError, TypeError), _folder(root) as folder:
        seq, digest = _document(read_small(b"cursor.json", folder, MOST_BYTES))
        return Cursor(int(seq), str(digest))
    return Cursor()


def _document(data: bytes) -> Any:
    """Raises ValueError where it is no JSON."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is too deep") from None


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def order(folder: Path, site: str) -> str:
    """Writes down that the operator follows what a site has begun anew, or has looked at its conflict; what it is.

    The auditor that runs finds it. Raises SettingsError where there is nothing to accept.
    """
    root = folder.absolute()
    try:
        with _folder(root / "sites") as sites:
            state = SiteBook.of_json(read_small(f"{site}.json".encode(), sites, _MOST_STATE))
        if state.pending is None and state.conflict is None:
            raise SettingsError(f"SITE: there is nothing to accept of {site}")
        what = state.pending.origin if state.pending else "*"
        write_durably(os.fsencode(root / "accept" / site), what.encode() + b"\n", mode=0o600)
    except FileNotFoundError:
        raise SettingsError(f"SITE: the auditor of {folder} knows no site {site}") from None
    except (ValueError, KeyError, TypeError, BadEvidence):
        raise SettingsError(f"--state: the state of {site} is damaged") from None
    except OSError as error:
        raise SettingsError(f"--state: {folder}: {error.strerror}") from None
    return what
