"""The proof of one receipt: what it proves, and everything that it does not."""

from __future__ import annotations

import base64
import json
from hashlib import sha256

import pytest

from syncdaemon.evidence.ed25519 import public_of
from syncdaemon.evidence.notes import COSIGNER_KEY, LOG_KEY, Checkpoint, VerifierKey
from syncdaemon.evidence.origins import LogOrigin, Pin, log_id
from syncdaemon.evidence.policy import Policy
from syncdaemon.evidence.proofs import Proof, verify_proof
from syncdaemon.evidence.strict import BadEvidence
from syncdaemon.evidence.tiles import Edge, TileTree
from syncdaemon.evidence.tree import inclusion_proof
from tests.support import judges
from tests.support.evidence import BASE, KEY, SITE, entries, receipt, sealed

CONTENT = b"content"
DIGEST = sha256(CONTENT).hexdigest()
ROWS = sealed(entries(300))
WITNESS_SEED = b"w" * 32
WITNESS = VerifierKey("witness.example.org/w1", COSIGNER_KEY, public_of(WITNESS_SEED))
POLICY = Policy.parse(f"witness W {WITNESS.vkey}\nquorum W\n".encode())
TIME = 1_767_323_045


def proof_of(index: int, rows: list[bytes] = ROWS, site: str = SITE, cosigned: bool = False) -> Proof:
    """The proof of this row in a log of these rows, signed by KEY."""
    edge = Edge()
    tiles = dict(edge.add(rows))
    tiles.update(edge.unfinished())
    origin = str(LogOrigin(BASE, site, log_id(rows[0])))
    note = Checkpoint(origin, len(rows), edge.root).note().signed(origin, KEY.seed)
    if cosigned:
        note = note.cosigned_by(WITNESS.name, WITNESS_SEED, TIME)
    hashes = inclusion_proof(index, len(rows), TileTree(len(rows), tiles.__getitem__).subtree)
    return Proof(rows[index], index, tuple(hashes), bytes(note))


PIN = Pin(KEY.public, f"{BASE}/{SITE}")
PROOF = proof_of(6)
ORIGIN = f"{BASE}/{SITE}/{log_id(ROWS[0])}"
TEXT = bytes(PROOF).decode()
SAYS = "; it says that site edge-1 published a/file-7, which is this file, as sequence 7 of stream swarm_jobs at "
TS = json.loads(ROWS[6])["ts"]


def test_without_a_policy_it_is_the_keys_word_alone() -> None:
    proved = verify_proof(bytes(PROOF), PIN, DIGEST, len(CONTENT))
    assert not proved.witnessed
    assert proved.row["path"] == "a/file-7"
    assert proved.sentence == (
        f"row 7 of {ORIGIN} is signed by this key; whoever has it can have made this at any time, and for you alone"
        f"; it says that site edge-1 found a/file-7" + SAYS.partition("a/file-7")[2] + TS
    )


def test_with_a_policy_the_witness_had_seen_it() -> None:
    proved = verify_proof(bytes(proof_of(6, cosigned=True)), PIN, DIGEST, len(CONTENT), POLICY)
    assert proved.witnessed
    assert proved.sentence.startswith(
        f"row 7 of the history of {ORIGIN} that witness.example.org/w1 had seen at 2026-01-02T03:04:05Z; it says that "
    )


def test_a_quorum_that_is_not_there() -> None:
    with pytest.raises(BadEvidence, match="has not cosigned; of its witnesses, nobody did"):
        verify_proof(bytes(PROOF), PIN, DIGEST, len(CONTENT), POLICY)


def test_a_policy_that_asks_nobody_is_none() -> None:
    proved = verify_proof(bytes(PROOF), PIN, DIGEST, len(CONTENT), Policy.parse(b"quorum none\n"))
    assert not proved.witnessed


def test_a_policy_for_other_logs() -> None:
    other = VerifierKey("log.example", LOG_KEY, public_of(b"o" * 32)).vkey
    policy = Policy.parse(f"log {other}\nwitness W {WITNESS.vkey}\nquorum W\n".encode())
    with pytest.raises(BadEvidence, match="does not name the log"):
        verify_proof(bytes(proof_of(6, cosigned=True)), PIN, DIGEST, len(CONTENT), policy)


def test_the_sites_own_key_is_no_witness() -> None:
    own = VerifierKey("w.example", COSIGNER_KEY, KEY.public)
    policy = Policy.parse(f"witness W {own.vkey}\nquorum W\n".encode())
    with pytest.raises(BadEvidence, match="own key as the witness W"):
        verify_proof(bytes(PROOF), PIN, DIGEST, len(CONTENT), policy)


def test_a_wrong_cosignature_is_not_passed_over() -> None:
    note = proof_of(6, cosigned=True).note
    broken = note[:-6] + b"AAAA=" + note[-1:]
    with pytest.raises(BadEvidence):
        verify_proof(bytes(PROOF._replace(note=broken)), PIN, DIGEST, len(CONTENT), POLICY)


@pytest.mark.parametrize("key", [PIN, VerifierKey(ORIGIN, LOG_KEY, KEY.public)], ids=["pin", "vkey"])
@pytest.mark.parametrize("index", [1, 255, 256, 299])
def test_each_row_is_proved_and_a_judge_agrees(key: Pin | VerifierKey, index: int) -> None:
    proof = proof_of(index)
    assert verify_proof(bytes(proof), key, DIGEST, len(CONTENT)).row["n"] == index + 1
    vkey = VerifierKey(ORIGIN, LOG_KEY, KEY.public).vkey
    judges.included_in(proof.note, vkey, index, proof.row, proof.hashes)
    with pytest.raises(judges.REFUSES):
        judges.included_in(proof.note, vkey, index, proof.row + b" ", proof.hashes)


@pytest.mark.parametrize(
    "trusted",
    [
        PIN._replace(public=public_of(b"other".ljust(32))),
        PIN._replace(place=f"{BASE}/edge-2"),
        PIN._replace(place=f"elsewhere.example/{SITE}"),
        VerifierKey(ORIGIN, LOG_KEY, public_of(b"other".ljust(32))),
        VerifierKey(ORIGIN[:-1] + "x", LOG_KEY, KEY.public),
    ],
    ids=["another key", "another site", "another base", "vkey of another key", "vkey of another log"],
)
def test_a_proof_of_somebody_else(trusted: Pin | VerifierKey) -> None:
    with pytest.raises(BadEvidence):
        verify_proof(bytes(PROOF), trusted, DIGEST, len(CONTENT))


@pytest.mark.parametrize(("digest", "size"), [("0" * 64, len(CONTENT)), (DIGEST, 8)])
def test_another_file(digest: str, size: int) -> None:
    with pytest.raises(BadEvidence, match="about another file: a/file-7 of 7 bytes"):
        verify_proof(bytes(PROOF), PIN, digest, size)


def test_every_row_that_is_no_receipt_of_the_site() -> None:
    """Each is in the log, at its place, and signed: what is wrong is what the row says."""
    wrong = {
        "not a receipt": (sealed([("refused", {**receipt(1)[1], "reason": "r", "error": "e"})]), SITE),
        "of another site": (ROWS[:9], "edge-2"),
        "another number": ([ROWS[0], ROWS[2], ROWS[1]], SITE),
        "a field missing": (sealed([("published", {"path": "a", "size": 7, "sha256": DIGEST})]), SITE),
        "a number that is true": (sealed([receipt(1, stream_seq=True)]), SITE),
        "other blanks": ([json.dumps(json.loads(ROWS[1])).encode()], SITE),
        "a doubled key": ([ROWS[1][:-1] + b',"v":1}'], SITE),
        "a float": ([ROWS[1].replace(b'"attempts":1', b'"attempts":1.0')], SITE),
        "nested": ([ROWS[1].replace(b'"attempts":1', b'"attempts":1,"b":[1]')], SITE),
        "not JSON": ([b"{"], SITE),
        "deeply nested": ([b"[" * 50_000], SITE),
        "a huge number": ([ROWS[1].replace(b'"attempts":1', b'"attempts":' + b"9" * 5000)], SITE),
        "no object": ([b"7"], SITE),
        "another version": ([ROWS[1].replace(b'"v":1', b'"v":2')], SITE),
    }
    canonical = "not a line of a ledger in its canonical form"
    words = dict.fromkeys(wrong, canonical) | {
        "not a receipt": "its event is 'refused'",
        "of another site": "of site edge-1, the log of site edge-2",
        "another number": "has number 2, and the index of row 3",
        "a field missing": "no field 'msg_id'",
        "a number that is true": "no field 'stream_seq'",
        "another version": "of another version",
    }
    for name, (rows, site) in wrong.items():
        index = len(rows) - 1
        proof = proof_of(index, rows, site)
        if len(bytes(proof)) > 65_536:
            proof = proof._replace(row=proof.row[:40_000])
        with pytest.raises(BadEvidence) as refused:
            verify_proof(bytes(proof), PIN._replace(place=f"{BASE}/{site}"), DIGEST, len(CONTENT))
        assert words[name] in str(refused.value), name


def hashes() -> list[str]:
    return [base64.b64encode(value).decode() for value in PROOF.hashes]


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("index 6", "index 06"),
        TEXT.replace("index 6", "index +6"),
        TEXT.replace("index 6", "index 7"),
        TEXT.replace("index 6", "index -1"),
        TEXT.replace("index 6", "index 9223372036854775808"),
        TEXT.replace("index 6\n", ""),
        TEXT.replace("proof@v1", "proof@v2"),
        TEXT.replace("extra ", "extra  "),
        TEXT.replace("\nextra", "\nExtra"),
        TEXT.replace(hashes()[0], hashes()[1]),
        TEXT.replace(hashes()[0] + "\n", ""),
        TEXT.replace(hashes()[0] + "\n", hashes()[0] + "\n" + hashes()[0] + "\n"),
        TEXT.replace(hashes()[0] + "\n", (hashes()[0] + "\n") * 64),
        TEXT.replace(hashes()[0], base64.b64encode(b"x" * 31).decode()),
        TEXT.replace("\n\n", "\n\n\n", 1),
        TEXT.partition("\n\n")[0] + "\n",
        "\n" + TEXT,
        "",
        TEXT + "\n",
    ],
)
def test_what_is_no_proof(text: str) -> None:
    with pytest.raises(BadEvidence):
        verify_proof(text.encode(), PIN, DIGEST, len(CONTENT))


def test_a_proof_is_small() -> None:
    """In a log of 5 million rows, where it has 23 hashes, and with a path of 100 bytes."""
    rows = [*ROWS, *sealed([receipt(1, path="p" * 100)])]
    proof = PROOF._replace(row=rows[-1], hashes=PROOF.hashes[:1] * 23)
    assert len(bytes(proof)) <= 2_200


def test_a_time_that_no_calendar_has() -> None:
    cosigner = verify_proof(bytes(proof_of(6, cosigned=True)), PIN, DIGEST, 7, POLICY)
    late = cosigner._replace(cosigners=(cosigner.cosigners[0]._replace(time=(1 << 63) - 1),))
    assert "had seen at 9223372036854775807 seconds after 1970" in late.sentence


@pytest.mark.parametrize(
    "text",
    [
        *("", "AAAA", f"AAAA {BASE}/edge-1", str(PIN) + "\n", str(PIN).replace(" ", "  ")),
        *(str(PIN).replace(f"{BASE}/", ""), str(PIN).replace("edge-1", "Edge"), str(PIN).replace("=", "")),
    ],
)
def test_what_is_no_pin(text: str) -> None:
    with pytest.raises(BadEvidence):
        Pin.parse(text)


def test_a_pin_is_read_as_it_was_written() -> None:
    assert Pin.parse(str(PIN)) == PIN
