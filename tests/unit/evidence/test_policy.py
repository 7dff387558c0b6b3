"""Policy files: what C2SP tlog-policy demands, and what each refuses."""

from __future__ import annotations

import pytest

from syncdaemon.evidence.ed25519 import public_of
from syncdaemon.evidence.notes import COSIGNER_KEY, LOG_KEY, VerifierKey
from syncdaemon.evidence.policy import Policy
from syncdaemon.evidence.strict import BadEvidence


def witness(name: str) -> str:
    return VerifierKey(f"{name}.example", COSIGNER_KEY, public_of(name.encode().ljust(32, b"."))).vkey


LOG = VerifierKey("log.example", LOG_KEY, public_of(b"l" * 32)).vkey
X = "".join(f"witness {name} {witness(name)}\n" for name in ("X1", "X2", "X3", "Y1", "Y2", "Y3"))
EXAMPLE = f"""# the example of the specification
log {LOG} https://log.example/
{X}
group X-witnesses 2 X1 X2 X3
\t group Y-witnesses  any Y1\tY2 Y3
group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


@pytest.mark.parametrize(
    ("cosigned", "enough"),
    [
        ("", False),
        ("X1 Y1", False),
        ("X1 X2", False),
        ("X1 X3 Y2", True),
        ("X1 X2 X3 Y1 Y2 Y3", True),
        ("Y1 Y2 Y3", False),
        ("X-and-Y", False),
    ],
)
def test_the_example_of_the_specification(cosigned: str, enough: bool) -> None:
    policy = Policy.parse(EXAMPLE.encode())
    assert len(policy.logs) == 1
    assert len(policy.witnesses) == 6
    assert policy.holds(set(cosigned.split())) is enough


def test_a_quorum_may_be_a_witness_or_nobody() -> None:
    assert Policy.parse(f"{X}quorum X2\n".encode()).holds({"X2"})
    assert not Policy.parse(f"{X}quorum X2\n".encode()).holds({"X1"})
    nobody = Policy.parse(b"quorum none\n")
    assert nobody.asks_nobody
    assert nobody.holds(set())


def test_names_are_bytes() -> None:
    """The Kelvin sign is no K, and a name need not be UTF-8."""
    text = f"witness K {witness('X1')}\nwitness \u212a {witness('X2')}\nquorum \u212a\n".encode()
    assert not Policy.parse(text).holds({"K"})
    assert Policy.parse(b"witness \xff " + f"{witness('X1')}\n".encode() + b"quorum \xff\n").quorum == "\udcff"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no quorum"),
        (f"{X}", "no quorum"),
        (f"{X}quorum X1\nquorum X1\n", "second quorum"),
        (f"{X}quorum X4\n", "X4 is not defined above"),
        (f"quorum X1\n{X}", "X1 is not defined above"),
        (f"{X}group G 0 X1\nquorum G\n", "needs 0"),
        (f"{X}group G 3 X1 X2\nquorum G\n", "needs 3"),
        (f"{X}group G +1 X1\nquorum G\n", "decimal"),
        (f"{X}group G 01 X1\nquorum G\n", "decimal"),
        (f"{X}group G any\nquorum G\n", "members"),
        (f"{X}group G any G\nquorum G\n", "G is not defined above"),
        (f"{X}group G any none\nquorum G\n", "none is not defined above"),
        (f"{X}group G any X1 X1\nquorum G\n", "X1 is a member twice"),
        (f"{X}group G any X1\ngroup H all G X1\nquorum H\n", "X1 is a member twice"),
        (f"{X}group X1 any X2\nquorum X1\n", "X1 is taken"),
        (f"{X}group none any X2\nquorum X1\n", "none is taken"),
        (f"{X}witness X1 {witness('Z')}\nquorum X1\n", "X1 is taken"),
        (f"{X}witness Z {witness('X1')}\nquorum X1\n", "stands in the policy already"),
        (f"log {LOG}\nlog {LOG}\nquorum none\n", "stands in the policy already"),
        (f"witness W {LOG}\nquorum W\n", "not a cosigner's key"),
        (f"log {witness('X1')}\nquorum none\n", "not a log's key"),
        (f"{X}quorum X1 X2\n", "one name"),
        (f"{X}quorum\n", "one name"),
        ("wittness X1\nquorum none\n", "a line is a log"),
        ("quorum none", "newline"),
        ("quorum none\r\n", "control"),
        ("#" * 70_000 + "\nquorum none\n", "over 65536"),
    ],
)
def test_what_is_no_policy(text: str, words: str) -> None:
    with pytest.raises(BadEvidence, match=words.replace("+", r"\+")):
        Policy.parse(text.encode())


def test_one_key_is_no_two_witnesses() -> None:
    """Not even under two names, which give it two ids."""
    same = VerifierKey("elsewhere.example", COSIGNER_KEY, public_of(b"X1".ljust(32, b"."))).vkey
    with pytest.raises(BadEvidence, match="line 7: the key of elsewhere"):
        Policy.parse(f"{X}witness Z {same}\nquorum Z\n".encode())


def test_the_log_is_no_witness_of_its_own() -> None:
    own = VerifierKey("w.example", COSIGNER_KEY, public_of(b"l" * 32)).vkey
    with pytest.raises(BadEvidence, match="already"):
        Policy.parse(f"log {LOG}\nwitness W {own}\nquorum W\n".encode())
