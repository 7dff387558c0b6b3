"""Notes, checkpoints and cosignatures: judges that are not ours read what is written."""

from __future__ import annotations

import base64
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from syncdaemon.evidence.ed25519 import public_of, sign
from syncdaemon.evidence.keyfile import new_key
from syncdaemon.evidence.notes import (
    COSIGNER_KEY,
    LOG_KEY,
    Checkpoint,
    Signature,
    SignedNote,
    VerifierKey,
    open_checkpoint,
)
from syncdaemon.evidence.strict import BadEvidence
from syncdaemon.evidence.tree import EMPTY_ROOT
from tests.support import judges

ORIGIN = "edge.example.com/evidence/edge-1/0123456789abcdef"
SEED, WITNESS_SEED = b"s" * 32, b"w" * 32
KEY = VerifierKey(ORIGIN, LOG_KEY, public_of(SEED))
WITNESS = VerifierKey("witness.example.org/w1", COSIGNER_KEY, public_of(WITNESS_SEED))
CHECKPOINT = Checkpoint(ORIGIN, 7, sha256(b"root").digest())
NOTE = CHECKPOINT.note().signed(ORIGIN, SEED).cosigned_by(WITNESS.name, WITNESS_SEED, 1_700_000_000)
TEXT = bytes(NOTE).decode()
LOG_LINE, WITNESS_LINE = TEXT.splitlines(keepends=True)[-2:]


def test_a_checkpoint_is_read_as_it_was_written() -> None:
    checkpoint, note = open_checkpoint(bytes(NOTE), [KEY])
    assert (checkpoint, note) == (CHECKPOINT, NOTE)
    assert note.cosigned(WITNESS) == 1_700_000_000
    assert note.cosigned(WITNESS._replace(name="another")) is None


def test_another_tool_reads_it() -> None:
    assert judges.checkpoint(bytes(NOTE), [KEY.vkey]) == CHECKPOINT
    with pytest.raises(judges.REFUSES):
        judges.checkpoint(bytes(NOTE).replace(b"\n7\n", b"\n8\n"), [KEY.vkey])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not here")
def test_openssl_verifies_the_signature_by_the_key_file(tmp_path: Path) -> None:
    """And the key that `key new` makes is one for openssl, and one of openssl's is one for us."""
    key = new_key(tmp_path / "key.pem")
    note = CHECKPOINT.note().signed(ORIGIN, key.seed)
    (tmp_path / "text").write_text(note.text)
    (tmp_path / "signature").write_bytes(note.signatures[0].blob)
    command = ["openssl", "pkeyutl", "-verify", "-inkey", "key.pem", "-rawin", "-in", "text", "-sigfile", "signature"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "text").write_text(note.text.replace("\n7\n", "\n8\n"))
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 1


def test_our_signature_is_openssls(tmp_path: Path) -> None:
    """Ed25519 has one signature for each text, so both make the same bytes."""
    key = new_key(tmp_path / "key.pem")
    (tmp_path / "text").write_text(CHECKPOINT.text)
    made = subprocess.run(
        ["openssl", "pkeyutl", "-sign", "-inkey", "key.pem", "-rawin", "-in", "text"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    assert made.stdout == sign(key.seed, CHECKPOINT.text.encode())


def test_the_vkey_of_the_specification() -> None:
    """The example key of Go's sumdb/note."""
    vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    key = VerifierKey.parse(vkey, LOG_KEY)
    assert (key.name, key.id.hex(), key.vkey) == ("PeterNeumann", "c74f20a3", vkey)
    note = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n\n"
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    )
    SignedNote.parse(note.encode()).check(key)


def altered() -> dict[str, str]:
    """Notes of which each is wrong in one way."""
    larger = Checkpoint(ORIGIN, 8, CHECKPOINT.root).note().signed(ORIGIN, SEED)
    return {
        "another size": TEXT.replace("\n7\n", "\n8\n"),
        "size with a sign": TEXT.replace("\n7\n", "\n+7\n"),
        "size with a zero before it": TEXT.replace("\n7\n", "\n07\n"),
        "size with an underscore": TEXT.replace("\n7\n", "\n7_0\n"),
        "size in other digits": TEXT.replace("\n7\n", "\n٣\n"),
        "size over 2^63 - 1": TEXT.replace("\n7\n", "\n9223372036854775808\n"),
        "size of many digits": TEXT.replace("\n7\n", "\n" + "9" * 5000 + "\n"),
        "root of 31 bytes": TEXT.replace(TEXT.split("\n")[2], base64.b64encode(b"r" * 31).decode()),
        "no root": TEXT.replace(TEXT.split("\n")[2] + "\n", ""),
        "no signature": CHECKPOINT.text,
        "no signature line": CHECKPOINT.text + "\n",
        "no newline at the end": TEXT[:-1],
        "a hyphen for the dash": TEXT.replace("— edge", "- edge"),
        "carriage returns": TEXT.replace("\n", "\r\n"),
        "a NUL": TEXT.replace("edge-1", "edge-1\0"),
        "a tab": TEXT.replace("— edge", "—\tedge"),
        "a cut signature": TEXT.replace(LOG_LINE, LOG_LINE[:40] + "\n"),
        "the signature of another text": TEXT.replace(LOG_LINE, larger.signatures[0].line),
        "a signature line without base64": TEXT.replace(LOG_LINE, f"— {ORIGIN}\n"),
        "65 signatures": TEXT + WITNESS_LINE * 63,
        "over 64 KiB": TEXT + f"— a {base64.b64encode(b'x' * 60_000).decode()}\n",
        "our line twice, once wrong": TEXT + f"— {ORIGIN} {base64.b64encode(KEY.id + b'x' * 64).decode()}\n",
        "our line with 65 bytes": TEXT + f"— {ORIGIN} {base64.b64encode(KEY.id + b'x' * 65).decode()}\n",
        "another log": TEXT.replace(ORIGIN, ORIGIN.replace("edge-1", "edge-2")),
        "an empty line among the extensions": TEXT.replace("\n\n", "\n\n\n", 1),
    }


@pytest.mark.parametrize("text", altered().values(), ids=altered())
def test_what_is_no_checkpoint_of_ours(text: str) -> None:
    with pytest.raises(BadEvidence):
        open_checkpoint(text.encode("utf-8", "surrogatepass"), [KEY])


def test_base64_has_one_spelling() -> None:
    """The last character of 68 bytes carries bits that a lenient reader ignores; some also pass over line breaks."""
    line = LOG_LINE.rstrip("\n")
    assert line.endswith("=")
    for other in (line[:-2] + chr(ord(line[-2]) + 1) + "=", line[:-1], line + "=", line[:-5] + " " + line[-5:]):
        with pytest.raises(BadEvidence):
            open_checkpoint(TEXT.replace(line, other).encode(), [KEY])


def test_a_note_that_is_not_utf_8() -> None:
    with pytest.raises(BadEvidence, match="not UTF-8"):
        SignedNote.parse(bytes(NOTE) + b"\xff")


def test_signatures_of_unknown_keys_are_passed_over() -> None:
    """Whatever their length; a note has to take at least 16."""
    more = "".join(f"— other.example/{number} {base64.b64encode(b'abcdx').decode()}\n" for number in range(30))
    assert open_checkpoint((TEXT + more).encode(), [KEY])[0] == CHECKPOINT
    same_id = f"— somebody {base64.b64encode(KEY.id + b'x' * 64).decode()}\n"
    assert open_checkpoint((TEXT + same_id).encode(), [KEY])[0] == CHECKPOINT


def test_lines_after_the_root_are_signed_and_passed_over() -> None:
    note = SignedNote(CHECKPOINT.text + "an extension\n", ()).signed(ORIGIN, SEED)
    assert open_checkpoint(bytes(note), [KEY])[0] == CHECKPOINT


def test_an_empty_log_has_the_root_of_nothing() -> None:
    assert Checkpoint.parse(Checkpoint(ORIGIN, 0, EMPTY_ROOT).text).size == 0
    with pytest.raises(BadEvidence, match="no entries"):
        Checkpoint.parse(Checkpoint(ORIGIN, 0, b"x" * 32).text)


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (NOTE.signatures[1].blob[:-1], "71 bytes"),
        (NOTE.signatures[1].blob + b"x", "73 bytes"),
        ((1_700_000_001).to_bytes(8, "big") + NOTE.signatures[1].blob[8:], "is wrong"),
        ((1 << 63).to_bytes(8, "big") + NOTE.signatures[1].blob[8:], "over 2"),
    ],
    ids=["short", "long", "another time", "a time over 2^63 - 1"],
)
def test_what_is_no_cosignature(blob: bytes, words: str) -> None:
    note = NOTE._replace(signatures=(NOTE.signatures[0], Signature(WITNESS.name, WITNESS.id, blob)))
    with pytest.raises(BadEvidence, match=words):
        note.cosigned(WITNESS)


@pytest.mark.parametrize(
    "vkey",
    [
        KEY.vkey.replace("edge-1", "edge-2"),
        KEY.vkey.upper(),
        KEY.vkey[:-4],
        KEY.vkey.replace("+A", "+B"),
        WITNESS.vkey,
        "",
        "name",
        "name+",
        "+00000000+AQ==",
        "a b+00000000+AQ==",
        "a\u00a0b+00000000+AQ==",
        "a\udcff+00000000+AQ==",
        VerifierKey("n" * 256, LOG_KEY, KEY.public).vkey,
    ],
)
def test_what_is_no_vkey_of_a_log(vkey: str) -> None:
    with pytest.raises(BadEvidence):
        VerifierKey.parse(vkey, LOG_KEY)


def test_a_key_of_small_order_signs_nothing() -> None:
    """With such a key one signature fits every text."""
    for public in (b"\0" * 32, b"\1" + b"\0" * 31):
        key = VerifierKey(ORIGIN, LOG_KEY, public)
        note = SignedNote(CHECKPOINT.text, (Signature(ORIGIN, key.id, public + b"\0" * 32),))
        with pytest.raises(BadEvidence):
            note.check(key)
