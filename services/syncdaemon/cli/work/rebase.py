"""`syncdaemon ledger rebase`: asks the hub where the old log ended, and begins a new one behind that."""

from __future__ import annotations

import asyncio
from pathlib import Path

from syncdaemon.base.errors import SettingsError
from syncdaemon.cli.options import FOUND
from syncdaemon.cli.say import say
from syncdaemon.evidence.keyfile import CheckpointKey, read_key
from syncdaemon.evidence.standing import CosignedNote, MailedNote, OwnNote, Standing, standing
from syncdaemon.evidence.strict import base64_text
from syncdaemon.evidence.submission import Submission
from syncdaemon.ledger.rebase import rebase
from syncdaemon.ledger.signing import Signer
from syncdaemon.link import visit
from syncdaemon.settings import parts
from syncdaemon.settings.values import Loaded, Settings
from syncdaemon.stream.mailbox import Mailbox, read_to
from syncdaemon.stream.records import REBASED


def begin_anew(loaded: Loaded, reason: str, old_key: str | None) -> int:
    """The exit code. Raises SettingsError, ConnectTimeout, LinkDown, LanePaused, PermissionError, NotRebased."""
    settings = loaded.settings
    if settings.sync_checkpoint_key is None:
        raise SettingsError("SYNC_CHECKPOINT_KEY: not set; without a key there is no log to begin anew")
    signer = Signer(
        settings.sync_ledger_dir,
        settings.site,
        settings.sync_checkpoint_origin or "",
        read_key(settings.sync_checkpoint_key, settings.login_files),
    )
    former = None if old_key is None else read_key(Path(old_key), settings.login_files)
    return asyncio.run(_begin_anew(settings, signer, former, reason))


async def _begin_anew(settings: Settings, signer: Signer, former: CheckpointKey | None, reason: str) -> int:
    async with visit(parts.link(settings)) as session:
        mailbox = Mailbox(session, settings.site, settings.nats_hub_domain or "")
        found = await _at_hub(mailbox, signer, former)
        if found.stray:
            say(f"syncdaemon: {found.stray}; remove it at the hub first, or let the auditor read past it", err=True)
            return FOUND
        before: OwnNote | None = found.newest
        if before is None:
            say("syncdaemon: the hub has no checkpoint of this site: nothing has to be begun anew", err=True)
            return FOUND
        done = rebase(signer, before, reason, former)
        aside = "there was no old ledger" if done.aside is None else f"the old one is in {done.aside}"
        say(f"log {done.log_id} begins behind {before.checkpoint.size} rows of {before.checkpoint.origin}; {aside}")
        proof = base64_text(bytes(done.proof))
        await mailbox.publish(bytes(Submission(0, (), bytes(done.note))), found.seq, {REBASED: proof})
    return 0


async def _at_hub(mailbox: Mailbox, signer: Signer, former: CheckpointKey | None) -> Standing:
    """What the hub has, by the key of now, else by the former one."""
    newest, noted = await mailbox.newest(), await mailbox.cosigned()
    mailed = None if newest is None else MailedNote(newest.seq, newest.data)
    cosigned = None if noted is None else CosignedNote(noted.data, read_to(noted))
    found = standing(mailed, cosigned, signer.public, signer.site)
    if found.stray and former is not None:
        return standing(mailed, cosigned, former.public, signer.site)
    return found
