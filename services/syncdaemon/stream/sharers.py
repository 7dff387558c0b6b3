"""Whether a stream takes what others send."""

from __future__ import annotations

from syncdaemon.stream.info import StreamInfo


def others(info: StreamInfo, site_form: str) -> str:
    """What the stream takes beside the messages of this site, in words; empty for nothing, or where no site is told.

    `site_form`: how the subjects of this site begin, with `*` for any token.
    """
    if not site_form:
        return ""
    if info.settings.get("sources") or info.settings.get("mirror"):
        return "messages from other streams"
    return ", ".join(subject for subject in info.subjects if not _begins(subject, site_form))


def _begins(subject: str, form: str) -> bool:
    """Whether all that a subject stands for begins with the tokens of `form`, in which `*` is any token."""
    tokens, wanted = subject.split("."), form.split(".")
    return len(tokens) >= len(wanted) and all(
        have == want or (want == "*" and have != ">") for have, want in zip(tokens, wanted, strict=False)
    )
