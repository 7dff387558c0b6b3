"""The proof of one receipt, as one small file (C2SP tlog-proof): the row, its way to the root, the checkpoint. Pure.

To check one in a program: `verify_proof(Path("x.tlog-proof").read_bytes(), Pin.parse(...), digest, size)`, with the
SHA-256 in hexadecimal and the size of the file that the receipt is about.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from syncdaemon.evidence import notes, tree
from syncdaemon.evidence.notes import Checkpoint, SignedNote, VerifierKey
from syncdaemon.evidence.origins import LogOrigin, Pin
from syncdaemon.evidence.policy import Policy
from syncdaemon.evidence.strict import BadEvidence, base64_bytes, base64_text, decimal, hash_bytes, text_of

HEADER = "c2sp.org/tlog-proof@v1"

_VERBS = {"published": "published", "duplicate": "found"}  # a receipt's event, and what its site did

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_HEX64 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TEXTS = ("event", "msg_id", "path", "sha256", "site", "stream", "subject", "ts")
_NUMBERS = ("attempts", "mtime_ns", "n", "size", "stream_seq", "v")


class Proof(NamedTuple):
    """A proof as it is in its file; nothing of it is checked yet but its form."""

    row: bytes
    entry_index: int
    hashes: tuple[bytes, ...]
    note: bytes

    def __bytes__(self) -> bytes:
        lines = [HEADER, f"extra {base64_text(self.row)}", f"index {self.entry_index}", *map(base64_text, self.hashes)]
        return "\n".join(lines).encode() + b"\n\n" + self.note

    @classmethod
    def parse(cls, data: bytes) -> Proof:
        """Raises BadEvidence where this is not a proof with its row inside."""
        head, found, note = text_of(data, "proof").partition("\n\n")
        header, *lines = head.split("\n")
        if header != HEADER:
            raise BadEvidence(f"the first line is not {HEADER}")
        if not found:
            raise BadEvidence("the proof has no checkpoint")
        if len(lines) < 2 or not lines[0].startswith("extra ") or not lines[1].startswith("index "):
            raise BadEvidence("the proof does not have its lines: extra with the row, then index")
        if len(lines) - 2 > tree.MOST_HASHES:
            raise BadEvidence(f"the proof has over {tree.MOST_HASHES} hashes")
        return cls(
            row=base64_bytes(lines[0].removeprefix("extra "), "row"),
            entry_index=decimal(lines[1].removeprefix("index "), "index"),
            hashes=tuple(hash_bytes(line, "hash") for line in lines[2:]),
            note=note.encode(),
        )


class Cosigner(NamedTuple):
    """Who cosigned the checkpoint, and when, in seconds since 1970."""

    name: str
    time: int


class Proved(NamedTuple):
    """What a proof proves. `witnessed`: a policy's quorum has cosigned; `cosigners`: its witnesses that have."""

    row: Mapping[str, Any]
    checkpoint: Checkpoint
    witnessed: bool
    cosigners: tuple[Cosigner, ...]

    @property
    def sentence(self) -> str:
        """What holds, in one line, and no more."""
        row, origin = self.row, self.checkpoint.origin
        says = (
            f"it says that site {row['site']} {_VERBS[row['event']]} {row['path']}, which is this file, as sequence "
            f"{row['stream_seq']} of stream {row['stream']} at {row['ts']}"
        )
        if not self.witnessed:
            return (
                f"row {row['n']} of {origin} is signed by this key; whoever has it can have made this at any time, "
                f"and for you alone; {says}"
            )
        seen = " and ".join(f"{name} had seen at {_time_text(time)}" for name, time in self.cosigners)
        return f"row {row['n']} of the history of {origin} that {seen}; {says}"


def verify_proof(
    data: bytes, trusted: Pin | VerifierKey, sha256: str, size: int, policy: Policy | None = None
) -> Proved:
    """What a proof proves about the file with this SHA-256, in hexadecimal, and this size in bytes.

    `trusted`: the site's pin, or the key of its log. Without a policy, or with one that asks nobody, the result is not
    `witnessed`. Raises BadEvidence where the proof does not hold, or is about another file, or the policy's quorum is
    not there.
    """
    proof = Proof.parse(data)
    checkpoint = Checkpoint.parse(SignedNote.parse(proof.note).text)
    origin = LogOrigin.parse(checkpoint.origin)
    key = trusted.key(origin) if isinstance(trusted, Pin) else trusted
    checkpoint, note = notes.open_checkpoint(proof.note, [key])
    row = receipt(proof.row, origin.site, proof.entry_index)
    tree.check_inclusion(tree.leaf_hash(proof.row), proof.entry_index, checkpoint.size, proof.hashes, checkpoint.root)
    if row["sha256"] != sha256 or row["size"] != size:
        raise BadEvidence(
            f"the proof is about another file: {row['path']} of {row['size']} bytes with SHA-256 {row['sha256']}"
        )
    witnessed, cosigners = (False, ()) if policy is None else cosigned(note, key, policy)
    return Proved(row, checkpoint, witnessed, cosigners)


def cosigned(note: SignedNote, key: VerifierKey, policy: Policy) -> tuple[bool, tuple[Cosigner, ...]]:
    """Whether a policy's quorum has cosigned a note of the log with this key, and the witnesses that have.

    False where the policy asks nobody. Raises BadEvidence where the quorum is not there, or the policy is for others.
    """
    if policy.logs and key not in policy.logs:
        raise BadEvidence(f"the policy does not name the log {key.name} with this key")
    times = {}
    for witness in policy.witnesses:
        if witness.key.public == key.public:
            raise BadEvidence(f"the policy has the log's own key as the witness {witness.name}")
        if (time := note.cosigned(witness.key)) is not None:
            times[witness] = time
    if policy.asks_nobody:
        return False, ()
    if not policy.holds({witness.name for witness in times}):
        names = ", ".join(witness.key.name for witness in times) or "nobody"
        raise BadEvidence(f"the quorum of the policy has not cosigned; of its witnesses, {names} did")
    return True, tuple(Cosigner(witness.key.name, time) for witness, time in times.items())


def receipt(line: bytes, site: str, index: int) -> dict[str, Any]:
    """The receipt in a row, which must be this site's row at this index, in its one spelling. Raises BadEvidence."""
    try:
        row: dict[str, Any] = json.loads(line)
        canonical = isinstance(row, dict) and _encode(row).encode() == line
    except (ValueError, RecursionError):
        canonical = False
    if not canonical or any(type(value) not in (int, str, bool) for value in row.values()):
        raise BadEvidence("the row is not a line of a ledger in its canonical form")
    _check_fields(row)
    if row["n"] != index + 1:
        raise BadEvidence(f"the row has number {row['n']}, and the index of row {index + 1}")
    if row["site"] != site:
        raise BadEvidence(f"the row is of site {row['site']}, the log of site {site}")
    return row


def _check_fields(row: Mapping[str, Any]) -> None:
    if row.get("event") not in _VERBS:
        raise BadEvidence(f"the row is no receipt: its event is {row.get('event')!r}")
    for kind, names in ((str, _TEXTS), (int, _NUMBERS)):
        for name in names:
            if type(row.get(name)) is not kind:
                raise BadEvidence(f"the row has no field {name!r} of its kind")
    if row["v"] != 1 or not _HEX64.fullmatch(row["sha256"]):
        raise BadEvidence("the row is of another version, or has no SHA-256")


def _time_text(time: int) -> str:
    try:
        return datetime.fromtimestamp(time, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"{time} seconds after 1970"
