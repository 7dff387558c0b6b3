"""The file of a site's checkpoint key: an Ed25519 key in PKCS#8 and PEM, as openssl makes it, and who may reach it.

The key is the site's own, and no login: a NATS server chooses what a login key signs, so a server that lies could have
a checkpoint signed by it.
"""

from __future__ import annotations

import base64
import os
import re
import stat
from collections.abc import Collection
from pathlib import Path

from syncdaemon.base.disk import fsync_dir, sync, write_all
from syncdaemon.base.errors import SettingsError
from syncdaemon.evidence import ed25519

_PKCS8 = bytes.fromhex("302e020100300506032b657004220420")  # RFC 8410, section 7: version 0, Ed25519, then the seed
_PEM = re.compile(r"\s*-----BEGIN PRIVATE KEY-----\s+([A-Za-z0-9+/=\s]+)-----END PRIVATE KEY-----\s*", re.ASCII)
_NATS_SEED = re.compile(r"\bS[ACNOUX][A-Z2-7]{56}\b", re.ASCII)
_MOST_BYTES = 16 << 10
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NATS_KEY = (
    "this is a key for NATS: a server chooses what such a key signs, and could have a checkpoint signed by it; "
    "make a key of its own (syncdaemon key new)"
)


class CheckpointKey:
    """The key that signs a site's checkpoints. Its seed is a secret, and is not shown."""

    def __init__(self, seed: bytes) -> None:
        self.seed = seed
        self.public = ed25519.public_of(seed)

    def __repr__(self) -> str:
        return f"CheckpointKey({base64.b64encode(self.public).decode()})"


def new_key(path: Path) -> CheckpointKey:
    """Makes a key, on disk for its owner alone when this returns. Raises SettingsError; a file that is there stays."""
    key = CheckpointKey(os.urandom(ed25519.SEED_BYTES))
    body = base64.b64encode(_PKCS8 + key.seed).decode()
    pem = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"
    try:
        fd = os.open(path, _NEW, 0o600)
        try:
            write_all(fd, pem.encode())
            sync(fd)
        finally:
            os.close(fd)
        fsync_dir(path.parent)
    except FileExistsError:
        raise SettingsError(f"{path} is there already; a key is never written over") from None
    except OSError as error:
        raise SettingsError(f"{path} can't be written: {error.strerror}") from None
    return key


def read_key(path: Path, logins: Collection[Path | None] = ()) -> CheckpointKey:
    """The key in this file. `logins`: the files of NATS and TLS keys, none of which it may be.

    Links are followed, since a Secret of Kubernetes is mounted as such. Raises SettingsError, with the reason.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            if fault := access_fault(status, os.geteuid(), {os.getegid(), *os.getgroups()}):
                raise _refused(path, fault)
            content = file.read(_MOST_BYTES + 1)
        texts = [_text(login) for login in logins if login is not None]
        if any(login is not None and login.exists() and os.path.samestat(login.stat(), status) for login in logins):
            raise _refused(path, "this is the file of a login; make a key of its own (syncdaemon key new)")
    except OSError as error:
        raise _refused(path, (error.strerror or "it can't be read").lower()) from None
    key = _read_pem(path, content.decode("ascii", "replace"))
    if any(key.seed == seed for text in texts for seed in _seeds(text)):
        raise _refused(path, _NATS_KEY)
    return key


def access_fault(status: os.stat_result, user: int, groups: Collection[int]) -> str:
    """Why a key file with this status is not safe for a process of this user and these groups; empty where it is.

    A Secret that Kubernetes mounts with `fsGroup` is root's, has mode 0440, and its group is one of ours.
    """
    if not stat.S_ISREG(status.st_mode):
        return "it is no file"
    if status.st_uid not in (0, user):
        return "it belongs to another user, who could change it: chown it to the daemon's user"
    if status.st_mode & stat.S_IRWXO:
        return "others can reach it: chmod 600"
    if status.st_mode & (stat.S_IWGRP | stat.S_IXGRP):
        return "its group can write it: chmod 600, or 440 where it is a mounted Secret"
    if status.st_mode & stat.S_IRGRP and status.st_gid not in groups:
        return "a group that is not the daemon's can read it: chmod 600, or set fsGroup where it is a mounted Secret"
    return ""


def _read_pem(path: Path, text: str) -> CheckpointKey:
    if _NATS_SEED.search(text) or "NKEY SEED" in text:
        raise _refused(path, _NATS_KEY)
    match = _PEM.fullmatch(text)
    try:
        der = base64.b64decode("".join(match[1].split()), validate=True) if match else b""
    except ValueError:
        der = b""
    if len(der) != len(_PKCS8) + ed25519.SEED_BYTES or not der.startswith(_PKCS8):
        raise _refused(
            path,
            "it is no Ed25519 key in PKCS#8 and PEM; make one with `syncdaemon key new` "
            "or `openssl genpkey -algorithm ed25519`",
        )
    return CheckpointKey(der[len(_PKCS8) :])


def _text(login: Path) -> str:
    """What is in the file of a login; a file that can't be read is another check's business."""
    try:
        return login.read_bytes()[:_MOST_BYTES].decode("ascii", "replace")
    except OSError:
        return ""


def _seeds(text: str) -> list[bytes]:
    """The seeds of NATS keys in a text: base32 of two bytes of prefix, the seed and a checksum."""
    found = (base64.b32decode(match[0] + "=" * (-len(match[0]) % 8)) for match in _NATS_SEED.finditer(text))
    return [raw[2 : 2 + ed25519.SEED_BYTES] for raw in found]


def _refused(path: Path, why: str) -> SettingsError:
    return SettingsError(f"SYNC_CHECKPOINT_KEY: {path}: {why}")
