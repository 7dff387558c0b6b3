"""Certificates for tests of TLS: an authority, what it has signed, and an authority that nobody trusts."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from syncdaemon.dev.server import HOST
from tests.support import needs


class Certificates(NamedTuple):
    """Files of an authority and of what it has signed, and of an authority that nobody trusts."""

    ca: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path
    other_ca: Path
    other_key: Path

    def tls(self, more: str = "") -> str:
        """The server's `tls` block."""
        return f"tls {{\ncert_file: '{self.server_cert}'\nkey_file: '{self.server_key}'\n{more}\n}}"

    def mutual(self) -> str:
        """The same, where clients have to show a certificate too."""
        return self.tls(f"ca_file: '{self.ca}'\nverify: true")

    def untrusted(self) -> str:
        """A `tls` block with a certificate of the strange authority."""
        return f"tls {{\ncert_file: '{self.other_ca}'\nkey_file: '{self.other_key}'\n}}"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Those of a server on this host."""
    return issued(tmp_path_factory.mktemp("certificates"))


def issued(folder: Path, address: str = HOST) -> Certificates:
    """Made anew in this folder by the `openssl` program, for a server at this address."""
    openssl = needs.program("openssl")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]

    def make(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)

    def authority(name: str) -> None:
        out = ["-keyout", f"{name}.key", "-out", f"{name}.pem"]
        make("req", "-x509", *new_key, *out, "-subj", f"/CN={name}", "-days", "2")

    def signed(name: str, *extensions: str) -> None:
        make("req", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / f"{name}.ext").write_text("\n".join(extensions))
        ca = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"]
        make("x509", "-req", "-in", f"{name}.csr", *ca, "-extfile", f"{name}.ext", "-out", f"{name}.pem")

    authority("ca")
    authority("other")
    signed("server", f"subjectAltName=IP:{address},DNS:localhost", "extendedKeyUsage=serverAuth,clientAuth")
    signed("client", "extendedKeyUsage=clientAuth")
    names = ("ca.pem", "server.pem", "server.key", "client.pem", "client.key", "other.pem", "other.key")
    return Certificates(*(folder / name for name in names))
