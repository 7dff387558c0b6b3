"""What can go wrong, by who must act.

`LinkDown`, `LanePaused` and `LedgerFull`: nobody, or an administrator in good time; every file stays where it is.
`FileRefused`: the operator, about this one file; it is set aside with the reason.
`SettingsError`: the operator, before the daemon can work at all.
`LedgerDamaged`: the operator, with the evidence in hand; the daemon must not write on.

Anything else that escapes is a bug: it ends the process, and the restart is safe by construction.
"""


class SyncError(Exception):
    """The base of every error that the daemon raises on purpose; its text is one line for a person."""


class LinkDown(SyncError):
    """The connection is gone, or was never there. What was sent and not acknowledged is in doubt."""


class LanePaused(SyncError):
    """The server answers, but the stream takes nothing for now. Every file stays."""


class FileRefused(SyncError):
    """This very file can never be delivered as it is.

    `reason` is the short word that metrics and sidecars carry; the error's text says more.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class SettingsError(SyncError):
    """A setting, or what it points at, is wrong. The text names the setting and what to do."""


class LedgerFull(SyncError):
    """Rows could not be written; none of them is in the ledger. The files that they speak of stay."""


class LedgerDamaged(SyncError):
    """The ledger does not hold together: the text names the file, the line and what is wrong there."""


class ConnectTimeout(SyncError):
    """No connection in the time that the caller gave."""
