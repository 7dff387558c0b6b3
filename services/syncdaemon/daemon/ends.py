"""Until when the login is valid: the files that it is made of, and the certificate of the server that was met last."""

from __future__ import annotations

import ssl

from syncdaemon.daemon.metrics import Metrics
from syncdaemon.link import LinkSettings, Session
from syncdaemon.link.logins import SERVER, Logins


class Ends:
    """Shows the end of each as seconds since 1970; infinite for what has none. What can't be read has no sample."""

    def __init__(self, settings: LinkSettings) -> None:
        self._logins = Logins(settings)
        self._server: float | None = None

    def show_in(self, metrics: Metrics) -> None:
        """Adds the gauge."""
        metrics.add_known(
            "syncdaemon_credentials_expire_timestamp_seconds", "When a part of the login ends", self._values, "kind"
        )

    def meet(self, session: Session) -> None:
        """Takes over what the server of a new connection showed."""
        _, end = session.tls or ("", "")
        self._server = ssl.cert_time_to_seconds(end) if end else None

    def _values(self) -> dict[tuple[str, ...], float]:
        found: dict[tuple[str, ...], float] = {}
        for login in self._logins.now():
            if login.end is not None:
                found[(login.kind,)] = login.end
        if self._server is not None:
            found[(SERVER,)] = self._server
        return found
