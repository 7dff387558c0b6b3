"""The key file: which file may sign a checkpoint, and who may reach it."""

from __future__ import annotations

import base64
import os
import shutil
import stat
import subprocess
from pathlib import Path

import nkeys  # type: ignore[import-untyped]
import pytest

from syncdaemon.base.errors import SettingsError
from syncdaemon.evidence.ed25519 import public_of
from syncdaemon.evidence.keyfile import access_fault, new_key, read_key

OTHER_USER, OTHER_GROUP = 4242, 4243
CREDS = """-----BEGIN NATS USER JWT-----
eyJ0eXAiOiJKV1QifQ.e30.c2ln
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------
"""


def nats_seed(raw: bytes = b"n" * 32, prefix: int = nkeys.PREFIX_BYTE_USER) -> str:
    """The seed of a NATS key, as `nsc` makes it."""
    return str(nkeys.encode_seed(raw, prefix).decode())


def pem_of(seed: bytes, folder: Path) -> Path:
    """A key file with this seed."""
    path = folder / "made.pem"
    new_key(path)
    body = base64.b64encode(bytes.fromhex("302e020100300506032b657004220420") + seed).decode()
    path.write_text(f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
    return path


def status(mode: int, uid: int, gid: int) -> os.stat_result:
    return os.stat_result((mode, 1, 1, 1, uid, gid, 100, 0, 0, 0))


FILE = stat.S_IFREG


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "words"),
    [
        (FILE | 0o600, 10001, 10001, ""),
        (FILE | 0o400, 10001, OTHER_GROUP, ""),
        (FILE | 0o640, 10001, 10001, ""),
        (FILE | 0o440, 0, 10001, ""),  # a Secret in a pod with fsGroup
        (FILE | 0o440, 0, 2000, ""),  # the same, where fsGroup is a supplementary group
        (FILE | 0o440, 0, OTHER_GROUP, "a group that is not the daemon's"),
        (FILE | 0o640, 10001, OTHER_GROUP, "a group that is not the daemon's"),
        (FILE | 0o440, 0, 0, "a group that is not the daemon's"),
        (FILE | 0o444, 0, 10001, "others can reach it"),
        (FILE | 0o604, 10001, 10001, "others can reach it"),
        (FILE | 0o602, 10001, 10001, "others can reach it"),
        (FILE | 0o660, 10001, 10001, "its group can write it"),
        (FILE | 0o620, 10001, OTHER_GROUP, "its group can write it"),
        (FILE | 0o600, OTHER_USER, 10001, "belongs to another user"),
        (stat.S_IFIFO | 0o600, 10001, 10001, "it is no file"),
        (stat.S_IFDIR | 0o700, 10001, 10001, "it is no file"),
    ],
)
def test_who_may_reach_it(mode: int, uid: int, gid: int, words: str) -> None:
    fault = access_fault(status(mode, uid, gid), 10001, {10001, 2000})
    assert fault.startswith(words) or words in fault
    assert bool(fault) == bool(words)


def test_a_new_key_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    before = os.umask(0)
    try:
        key = new_key(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = read_key(path)
    assert (read.seed, read.public) == (key.seed, public_of(key.seed))
    assert key.seed.hex() not in repr(key)
    assert str(key.seed) not in repr(key)


def test_no_key_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    new_key(path)
    content = path.read_bytes()
    with pytest.raises(SettingsError, match="never written over"):
        new_key(path)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(SettingsError, match="never written over"):
        new_key(tmp_path / "link")
    assert path.read_bytes() == content
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(SettingsError, match="No such file"):
        new_key(tmp_path / "no" / "key.pem")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not here")
def test_a_key_that_openssl_made(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True, capture_output=True)
    path.chmod(0o600)
    shown = subprocess.run(
        ["openssl", "pkey", "-in", path, "-pubout", "-outform", "DER"], check=True, capture_output=True
    )
    assert read_key(path).public == shown.stdout[-32:]


def test_a_mounted_secret_is_a_link(tmp_path: Path) -> None:
    """`..data/key` of a folder that Kubernetes exchanges as a whole."""
    new_key(tmp_path / "key.pem")
    (tmp_path / "link").symlink_to("key.pem")
    assert read_key(tmp_path / "link").public == read_key(tmp_path / "key.pem").public


@pytest.mark.parametrize("prefix", [nkeys.PREFIX_BYTE_USER, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_OPERATOR])
@pytest.mark.parametrize("form", ["{seed}\n", CREDS], ids=["nk", "creds"])
def test_a_key_for_nats_is_refused(tmp_path: Path, form: str, prefix: int) -> None:
    path = tmp_path / "key"
    path.write_text(form.format(seed=nats_seed(prefix=prefix)))
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="a server chooses what such a key signs"):
        read_key(path)


@pytest.mark.parametrize("form", ["{seed}\n", CREDS], ids=["nk", "creds"])
def test_the_login_in_another_form_is_refused_too(tmp_path: Path, form: str) -> None:
    """Somebody has made PKCS#8 of the NATS key, so as to have one key only."""
    login = tmp_path / "login"
    login.write_text(form.format(seed=nats_seed(b"n" * 32)))
    path = pem_of(b"n" * 32, tmp_path)
    with pytest.raises(SettingsError, match="a server chooses what such a key signs"):
        read_key(path, [None, login])
    login.write_text(form.format(seed=nats_seed(b"m" * 32)))
    assert read_key(path, [None, login, tmp_path / "missing"]).seed == b"n" * 32


def test_the_key_of_the_tls_login_is_refused(tmp_path: Path) -> None:
    new_key(tmp_path / "key.pem")
    (tmp_path / "tls.pem").symlink_to("key.pem")
    with pytest.raises(SettingsError, match="the file of a login"):
        read_key(tmp_path / "key.pem", [tmp_path / "tls.pem"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 100,
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\n=\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        b"A" * 100_000,
    ],
)
def test_what_is_no_key(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match=r"SYNC_CHECKPOINT_KEY: .* no Ed25519 key in PKCS#8"):
        read_key(path)


def test_a_missing_file_a_folder_and_a_fifo(tmp_path: Path) -> None:
    """None of them hangs."""
    os.mkfifo(tmp_path / "fifo", 0o600)
    for name, words in (("missing", "no such file"), (".", "no file|is a directory"), ("fifo", "it is no file")):
        with pytest.raises(SettingsError, match=words):
            read_key(tmp_path / name)
