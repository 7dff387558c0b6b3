"""Where to connect to, as whom, and how long that may take."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncdaemon.base.timetable import OFF, Timetable

CONNECT_SECONDS = 5.0
TLS_SECONDS = 15.0  # after the greeting: a server to which thousands come back at once needs that long


@dataclass(frozen=True)
class LinkSettings:
    """Where to connect to, and as whom.

    `js_domain`: of the JetStream whose API is asked; empty: that of the server which we connect to. `tls_first`: the
    TLS handshake comes before the server's greeting (nats-server 2.15, `handshake_first`). `probe_seconds`: the longest
    pause between two probes while nothing is wanted of the server; the shortest is half a second.
    """

    urls: tuple[str, ...]
    name: str
    creds: Path | None = None
    nkey_seed: Path | None = None
    user: str | None = None
    password: str | None = None
    token: str | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    bwlimit: Timetable = OFF
    js_domain: str = ""
    tls_first: bool = False
    probe_seconds: float = 0.0

    @property
    def wants_tls(self) -> bool:
        """Whether there is TLS, or no connection."""
        return bool(self.tls_first or self.tls_ca or self.tls_cert or any(url.startswith("tls:") for url in self.urls))

    def options(self) -> dict[str, Any]:
        """The options of nats-py's connect for these settings. Files are read at each connect."""
        options: dict[str, Any] = {
            "user_credentials": str(self.creds) if self.creds else None,
            "nkeys_seed": str(self.nkey_seed) if self.nkey_seed else None,
            "user": self.user,
            "password": self.password,
            "token": self.token,
        }
        if self.wants_tls:
            context = ssl.create_default_context(cafile=self.tls_ca)
            if self.tls_cert:
                context.load_cert_chain(self.tls_cert, self.tls_key)
            options["tls"] = context
        if self.tls_first:
            options["tls_handshake_first"] = True
        return options
