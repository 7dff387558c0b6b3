"""Makes something odd of a valid example, in a few places: noise alone would not get past the first check.

Everything is decided by the `Random` that is handed in. The same number gives the same input again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

ESCAPE, RIGHT_TO_LEFT = "\x1b[31m", "\u202e"
_TOKENS = (
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b"\x1b[2J", b"\xff", b"\xc3\x28", b"\xe2\x80\xae", b"\xed\xa0\x80"),
    *(b"-1", b"0", b"00", b"1e400", b"NaN", b"4294967296", b"18446744073709551616", b"2000000000", b"9" * 5000),
    *(b"null", b"true", b"[]", b"{}", b'"', b"\\", b"\\ud800", b"'", b"[" * 2000, b'{"a":' * 2000),
    *(b"../", b"/", b"//", b".", b"%", b"%00", b"%2e%2e", b"%zz", b":", b",", b"=", b"*", b">", b"~", b"@", b"$JS.ACK"),
)
_TEXTS = (
    *("", " ", ".", "..", "/", "a/b", "a b", "*", ">", "$JS.API", "\r\n", "\n", "\0", "\x7f", "é", "\ud800", "\udcff"),
    *(
        ESCAPE,
        RIGHT_TO_LEFT,
        "\u0661",
        "\u00b2",
        "a" * 300,
        "a\r\nPUB b 0\r\n\r\n",
        "null",
        "0",
        "-1",
        "%00",
        "../../x",
    ),
)
_NUMBERS = (0, 1, -1, 2, 255, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), 10**40, 0.5, 1e400, -1e400)


def data(random: Random, valid: bytes, most: int = 4) -> bytes:
    """These bytes with up to so many changes; mostly with few, and sometimes with none."""
    found = bytearray(valid)
    for _ in range(random.choice((0, 1, 1, 1, 2, most))):
        at = random.randrange(len(found) + 1)
        end = min(len(found), at + random.choice((1, 1, 2, 8, 64)))
        match random.randrange(8):
            case 0:
                found[at:end] = b""
            case 1:
                found[at:at] = found[at:end]
            case 2:
                found[at:at] = random.choice(_TOKENS)
            case 3:
                found[at:end] = random.choice(_TOKENS)
            case 4:
                del found[at:]
            case 5:
                found[at:at] = random.randbytes(random.choice((1, 2, 16)))
            case _ if found:
                found[at % len(found)] ^= 1 << random.randrange(8)
    return bytes(found)


def text(random: Random, valid: str = "") -> str:
    """This text with something odd in it, or in its place. It may hold half a character."""
    piece = random.choice(_TEXTS) if random.random() < 0.7 else chr(random.choice((random.randrange(256), 0x202E)))
    if not valid or random.random() < 0.2:
        return piece
    at = random.randrange(len(valid) + 1)
    return valid[:at] + piece + valid[min(len(valid), at + random.choice((0, 0, 1, 4))) :]


def value(random: Random, valid: Any = "") -> Any:
    """Something that stands where this JSON value is expected."""
    match random.randrange(8):
        case 0:
            return random.choice((None, True, False))
        case 1 | 2:
            return random.choice(_NUMBERS)
        case 3:
            return random.choice(([], {}, [None], {"": ""}, [[]], [{"a": []}], {"error": {}}, [valid], {"a": valid}))
        case 4 if isinstance(valid, int):
            return valid + random.choice((-1, 1))
        case 5:
            return str(valid)
        case _:
            return text(random, valid if isinstance(valid, str) else "")


def document(random: Random, valid: Any, most: int = 3) -> Any:
    """This JSON value with up to so many changes, anywhere in it. The original stays as it is."""
    found = valid
    for _ in range(random.randint(0, most)):
        found = _changed(random, found)
    return found


def _changed(random: Random, valid: Any) -> Any:
    if isinstance(valid, dict) and valid and random.random() < 0.9:
        key = random.choice(list(valid))
        rest = {name: one for name, one in valid.items() if name != key}
        match random.randrange(10):
            case 0:
                return rest
            case 1:
                return {**valid, text(random, key): valid[key]}
            case _:
                return {**rest, key: _changed(random, valid[key])}
    if isinstance(valid, list) and valid and random.random() < 0.9:
        at = random.randrange(len(valid))
        return [*valid[:at], _changed(random, valid[at]), *valid[at + random.randrange(2) :]]
    return value(random, valid)


def spelled(random: Random, valid: Any) -> bytes:
    """A JSON value, changed in places, as bytes, which may be changed as well."""
    found = json.dumps(document(random, valid), ensure_ascii=random.random() < 0.8)
    written = found.encode(errors="surrogatepass")
    return data(random, written) if random.random() < 0.4 else written


def pieces(random: Random, whole: bytes) -> Iterator[bytes]:
    """The same bytes as a network may bring them."""
    at = 0
    while at < len(whole):
        end = at + random.choice((1, 2, 3, 7, 40, 4096))
        yield whole[at:end]
        at = end
