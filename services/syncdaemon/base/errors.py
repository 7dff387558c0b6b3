"""What can go wrong, by who must act.

`LinkDown`, `LanePaused` and `LedgerFull`: the daemon waits. An administrator may have to act, in good time. Every file
stays where it is. (A file that can't be delivered is no error: it is a value, `model.Refusal`.)
`SettingsError`: the operator, before the daemon can work at all.
`LedgerDamaged`: the operator, with the evidence in hand; the daemon must not write on.

Anything else that escapes is a bug: it ends the process, and the restart is safe by construction.
"""


class SyncError(Exception):
    """The base of every error that the daemon raises on purpose; its text is one line for a person."""


class LinkDown(SyncError):
    """The connection is gone, or was never there. What was sent and not acknowledged is in doubt."""


class NotAnswered(PermissionError):
    """The server answers others, and not this request. It may be that it does not let us ask, and says nothing."""


class Unsendable(SyncError):
    """A subject or a header that no frame may carry. What it was made for is bad; the connection is as it was."""


class LanePaused(SyncError):
    """The server answers, but the stream takes nothing for now. Every file stays."""


class SettingsError(SyncError):
    """A setting, or what it points at, is wrong. The text names the setting and what to do."""


class LedgerFull(SyncError):
    """Rows could not be written; none of them is in the ledger. The files that they speak of stay."""


class LedgerDamaged(SyncError):
    """The ledger does not hold together: the text names the file, the line and what is wrong there."""


class ConnectTimeout(SyncError):
    """No connection in the time that the caller gave."""
