"""Until when a JWT and a certificate are valid; what is neither is refused, whatever it is."""

from __future__ import annotations

import base64
import subprocess
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.link.validity import certificate_end, certificates_end, jwt_end
from tests.support import needs
from tests.support.logins import credentials


def made(folder: Path, name: str, *arguments: str) -> bytes:
    """A certificate of the `openssl` program, in PEM."""
    command = [needs.program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    out = ["-nodes", "-keyout", str(folder / f"{name}.key"), "-out", str(folder / name), "-subj", f"/CN={name}"]
    subprocess.run([*command, *out, *arguments], check=True, capture_output=True)
    return (folder / name).read_bytes()


@pytest.mark.parametrize("claims", [{"exp": 1_800_000_000}, {"exp": 1_800_000_000.0, "name": "ä"}])
def test_a_jwt_ends_at_its_claim(claims: dict[str, Any]) -> None:
    assert jwt_end(credentials(claims)) == 1_800_000_000
    assert jwt_end(credentials(claims).replace(b"\n", b"\r\n")) == 1_800_000_000


@pytest.mark.parametrize("claims", [{}, {"exp": 0}])
def test_a_jwt_without_the_claim_has_no_end(claims: dict[str, Any]) -> None:
    assert jwt_end(credentials(claims)) == inf


@pytest.mark.parametrize("claims", [[], "text", {"exp": "soon"}, {"exp": None}, {"exp": True}])
def test_a_jwt_that_says_something_else_is_refused(claims: Any) -> None:
    with pytest.raises(ValueError, match="exp"):
        jwt_end(credentials(claims))


@pytest.mark.parametrize("text", [b"", b"no JWT", b"-----BEGIN NATS USER JWT-----\na.b.c\n", credentials({})[:60]])
def test_what_is_no_jwt_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="JWT"):
        jwt_end(text)


def test_a_certificate_ends_when_openssl_says_so(tmp_path: Path) -> None:
    """Before 2050 a certificate writes two digits of the year, afterwards four."""
    for days in (1, 20_000):
        pem = made(tmp_path, "one.pem", "-days", str(days))
        shown = ["x509", "-in", str(tmp_path / "one.pem"), "-noout", "-enddate"]
        end = subprocess.run([needs.program("openssl"), *shown], check=True, capture_output=True, text=True).stdout
        told = datetime.strptime(end.strip(), "notAfter=%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
        assert certificates_end(pem) == told.timestamp()


def test_a_chain_ends_with_the_first_of_its_certificates(tmp_path: Path) -> None:
    long, short = made(tmp_path, "long.pem", "-days", "90"), made(tmp_path, "short.pem", "-days", "9")
    key = (tmp_path / "long.pem.key").read_bytes()
    assert certificates_end(key + long + short) == certificates_end(short + long) == certificates_end(short)
    assert certificates_end(short) < certificates_end(long)


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----\nMIIB",
    ],
)
def test_what_is_no_certificate_is_refused(pem: bytes) -> None:
    with pytest.raises(ValueError, match="certificate"):
        certificates_end(pem)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_certificate_or_a_value_error(der: bytes) -> None:
    with pytest.raises(ValueError, match="certificate"):
        certificate_end(der)


def test_a_certificate_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    """Wherever it is cut, up to its dates; what comes after them is of no interest."""
    der = base64.b64decode(b"".join(made(tmp_path, "cut.pem", "-days", "9").splitlines()[1:-1]))
    for size in range(60):
        with pytest.raises(ValueError, match="certificate"):
            certificate_end(der[:size])
