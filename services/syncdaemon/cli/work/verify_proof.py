"""`syncdaemon verify-proof`: a file, a proof and a key are read, and one line says what holds."""

from __future__ import annotations

import hashlib
from pathlib import Path

from syncdaemon.base.errors import SettingsError
from syncdaemon.cli.options import FOUND
from syncdaemon.cli.say import say
from syncdaemon.evidence.notes import LOG_KEY, VerifierKey
from syncdaemon.evidence.origins import Pin
from syncdaemon.evidence.policy import Policy
from syncdaemon.evidence.proofs import verify_proof as verify
from syncdaemon.evidence.strict import MOST_BYTES, BadEvidence


def verify_proof(file: Path, proof: Path, pin: str, vkey: str, policy: str | None, *, unwitnessed: bool) -> int:
    """Prints what the proof proves; the exit code. Raises SettingsError, and BadEvidence where it proves nothing."""
    trusted = _trusted(pin, vkey)
    chosen = None if policy is None else _policy(Path(policy))
    data = _read(proof)
    try:
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
            size = content.tell()
    except OSError as error:
        raise SettingsError(f"{file} can't be read: {error.strerror}") from None
    try:
        proved = verify(data, trusted, digest, size, chosen)
    except BadEvidence as error:
        raise BadEvidence(f"{proof} proves nothing about {file}: {error}") from None
    say(proved.sentence)
    if proved.witnessed or unwitnessed:
        return 0
    say("syncdaemon: no witness: name a policy (--policy), or say that this is enough (--unwitnessed)", err=True)
    return FOUND


def _trusted(pin: str, vkey: str) -> Pin | VerifierKey:
    try:
        return Pin.parse(pin) if pin else VerifierKey.parse(vkey, LOG_KEY)
    except BadEvidence as error:
        raise SettingsError(f"{'--pin' if pin else '--vkey'}: {error}") from None


def _policy(path: Path) -> Policy:
    try:
        return Policy.parse(_read(path))
    except BadEvidence as error:
        raise SettingsError(f"--policy: {path}: {error}") from None


def _read(path: Path) -> bytes:
    """The content, or as much of it as shows that it is too long."""
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{path} can't be read: {error.strerror}") from None
