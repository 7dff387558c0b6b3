"""What doctor finds out about the files that the daemon logs in with: each is named, also one that can't be read."""

from __future__ import annotations

import time
from pathlib import Path

from syncdaemon.check.doctor import logins
from syncdaemon.settings.values import Settings
from tests.support.certificates import Certificates
from tests.support.logins import credentials


def test_each_file_is_named_with_its_days(tmp_path: Path, certificates: Certificates) -> None:
    creds = tmp_path / "site.creds"
    creds.write_bytes(credentials({"exp": int(time.time()) + 13 * 86_400}))
    environ = {"NATS_CREDS": str(creds), "NATS_TLS_CERT": str(certificates.client_cert)}
    environ["NATS_TLS_KEY"] = str(certificates.client_key)
    jwt, certificate = logins.look(Settings.load({}, environ, {}).settings)
    assert (jwt.what, jwt.file, round(jwt.days), jwt.problem) == ("the JWT", str(creds), 13, "")
    assert certificate.file == str(certificates.client_cert)
    assert 1.9 < certificate.days <= 2

    creds.write_bytes(b"nothing of the kind")
    jwt, _ = logins.look(Settings.load({}, environ, {}).settings)
    assert (jwt.file, jwt.problem) == (str(creds), "there is no user JWT in it")
    creds.unlink()
    jwt, _ = logins.look(Settings.load({}, environ, {}).settings)
    assert jwt.problem == "can't be read: No such file or directory"


def test_without_such_files_there_is_nothing_to_look_at() -> None:
    assert logins.look(Settings.load({}, {"NATS_USER": "edge", "NATS_PASSWORD": "secret"}, {}).settings) == ()
