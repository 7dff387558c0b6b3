"""The keys of a hub whose accounts are JWTs: a folder of which every file is a secret.

`keys/` holds a seed for the operator, for each account and for each user; `creds/` holds what a user logs in with. A
key that is there is kept for good: with another one, what was signed by it is worth nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import nkeys  # type: ignore[import-untyped]

from syncdaemon.base.disk import fsync_dir, write_all
from syncdaemon.base.errors import SettingsError
from syncdaemon.hub.jwt import Issued, Keys, all_accounts, credentials, users
from syncdaemon.hub.site_list import HubSite


class Pair:
    """A key pair, by its seed, which is a secret. Raises SettingsError where this is no seed."""

    def __init__(self, seed: str) -> None:
        try:
            self._pair = nkeys.from_seed(bytearray(seed.encode()))
            public: bytes = self._pair.public_key
        except Exception as error:  # the library raises whatever its decoders do
            raise SettingsError(f"--jwt: a key can't be read: {error or type(error).__name__}") from None
        self.public = public.decode()

    def sign(self, text: bytes) -> bytes:
        """The signature of this text (Ed25519)."""
        signature: bytes = self._pair.sign(text)
        return signature


def open_keys(folder: Path, sites: Sequence[HubSite], tell: Callable[[str], None]) -> Keys:
    """All keys, of which those that are missing are made; `tell` gets a line for each user that is new.

    Raises SettingsError where the folder can't be used, or others can read it.
    """
    try:
        for place in (folder, folder / "keys", folder / "creds"):
            place.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_mode & 0o077:
            raise SettingsError(f"--jwt: others can reach {folder}, which holds secrets: chmod 700 {folder}")
        keys = folder / "keys"
        issued = int(_kept(keys / "issued", str(int(time.time()))))
        operator = _pair(keys / "operator.nk", nkeys.PREFIX_BYTE_OPERATOR)
        accounts = {name: _pair(keys / f"{name}.nk", nkeys.PREFIX_BYTE_ACCOUNT) for name in all_accounts(sites)}
        by_user = {}
        for name in users(sites):
            if not (path := keys / f"user-{name}.nk").exists():
                tell(f"new: {folder / 'creds' / name}.creds")
            by_user[name] = _pair(path, nkeys.PREFIX_BYTE_USER)
        return Keys(operator, accounts, by_user, issued=issued)
    except ValueError:
        raise SettingsError(f"--jwt: {folder / 'keys' / 'issued'} is damaged: it holds a time in seconds") from None
    except OSError as error:
        raise SettingsError(f"--jwt: {folder} can't be used: {error.strerror}") from None


def write_credentials(folder: Path, issued: Issued) -> None:
    """A file for each user, where it is not there as it should be. Raises SettingsError."""
    try:
        for user, jwt in issued.users.items():
            path, text = (
                folder / "creds" / f"{user}.creds",
                credentials(jwt, (folder / "keys" / f"user-{user}.nk").read_text().strip()),
            )
            if not path.exists() or path.read_text() != text:
                _write(path, text)
        fsync_dir(folder / "creds")
    except OSError as error:
        raise SettingsError(f"--jwt: {folder / 'creds'} can't be written: {error.strerror}") from None


def _pair(path: Path, prefix: int) -> Pair:
    return Pair(_kept(path, nkeys.encode_seed(os.urandom(32), prefix).decode()))


def _kept(path: Path, new: str) -> str:
    """What the file says; one that is missing is made, and then says the new text."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        _write(path, new + "\n")
        fsync_dir(path.parent)
        return new


def _write(path: Path, text: str) -> None:
    """All of it or nothing, for the owner alone."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)  # of a run that was ended
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, text.encode())
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.rename(path)
