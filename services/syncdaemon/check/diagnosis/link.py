"""The connection, the rights and the clock of the server, judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import isinf

from syncdaemon.base.units import duration_in_words, size_in_words
from syncdaemon.check.diagnosis.facts import Intended, LinkFacts, LoginFacts, Rights, ServerFacts
from syncdaemon.check.diagnosis.finding import Finding, failure, ok, warning
from syncdaemon.stream.calls import Calls

_SOON = 14.0  # days that a login and a certificate should still be valid; the alert CredentialsExpire has the same
_CLOCK = 1.0  # seconds that two clocks may differ
_NEARLY_FULL = 0.9


def judge_link(link: LinkFacts) -> Iterator[Finding]:
    """Whether the server answers, and who else can listen."""
    if link.problem:
        yield failure("connection", link.problem, "check NATS_URL, the network and the login; the files wait for it")
        return
    rtt = f" in {link.rtt * 1000:.1f} ms" if link.rtt is not None else ""
    cluster = f" of cluster {link.cluster}" if link.cluster else ""
    yield ok("connection", f"{link.url}: {link.server}{cluster} answers{rtt}")
    yield _tls(link)
    yield ok("max_payload", f"a message may have {size_in_words(link.max_payload)}, its headers included")


def _tls(link: LinkFacts) -> Finding:
    if link.tls:
        days = link.certificate_days
        if days is not None and days < _SOON:
            when = f"expires in {duration_in_words(days * 86_400)}"
            return warning("tls", f"{link.tls}, but the server's certificate {when}", "have it renewed")
        return ok("tls", link.tls)
    if link.loopback:
        return ok("tls", "none, and the server is on this machine")
    return warning("tls", "none: evidence and login go in the clear", "use a tls:// URL, or NATS_TLS_CA")


def judge_logins(logins: Sequence[LoginFacts]) -> Iterator[Finding]:
    """For how long the daemon will be let in with the files that it has."""
    for login in logins:
        about, days = f"{login.what} in {login.file}", login.days
        if login.problem:
            yield warning("login", f"{about}: {login.problem}", "put a file there that can be read")
        elif days <= 0:
            remedy = "put a new one in its place; the daemon reads it at its next connection"
            yield failure("login", f"{about} ended {duration_in_words(-days * 86_400)} ago", remedy)
        elif days < _SOON:
            remedy = "put a new one in its place before that; no restart is needed"
            yield warning("login", f"{about} ends in {duration_in_words(days * 86_400)}", remedy)
        else:
            left = "has no end" if isinf(days) else f"is valid for {duration_in_words(days * 86_400)}"
            yield ok("login", f"{about} {left}")


def judge_rights(rights: Rights, wanted: Intended) -> Iterator[Finding]:
    """What the server lets us do, each tried in a way that changes nothing."""
    name, calls = wanted.stream_name, Calls.of(wanted.js_domain)
    if rights.create is not None:
        remedy = f"allow publishing to {calls.stream('CREATE', name)}, or create it by other means"
        yield _right("may_create", f"the stream {name} may be created", rights.create, failure, remedy)
    if rights.publish is not None:
        can = f"publishing to {wanted.subject} is permitted, and the answers reach us"
        yield _right("may_publish", can, rights.publish, failure, f"allow publishing to {wanted.subject}")
    if rights.takers > 1:
        yield _several(rights.takers, wanted)
    if rights.read is not None:
        either = f"{calls.stream('MSG.GET', name)} or {calls.direct(name, wanted.subject)}"
        remedy = f"allow {either}: without it, a file that is there already waits for ever"
        yield _right("may_read", "messages can be read back", rights.read, failure, remedy)
    if rights.consume is not None:
        make, pull = calls.consumer("CREATE", name, ">"), calls.consumer("MSG.NEXT", name, ">")
        remedy = f"allow publishing to {make} and {pull}"
        effect = "" if wanted.per_digest else ": without it, what was in doubt can't be looked for"
        yield _right("may_consume", "the stream can be read through", rights.consume, warning, remedy + effect)


def _right(check: str, can: str, problem: str, bad: Callable[[str, str, str], Finding], remedy: str) -> Finding:
    return bad(check, problem, remedy) if problem else ok(check, can)


def _several(takers: int, wanted: Intended) -> Finding:
    said = f"{takers} streams take a message on {wanted.subject}, and only what {wanted.stream_name} says counts"
    remedy = "let one have it: at a leaf node, deny_exports for the subject; or set NATS_JS_DOMAIN"
    return warning("one_stream", said, remedy)


def judge_account(account: tuple[int, int] | None) -> Iterator[Finding]:
    """How much the account may still store."""
    if account is None:
        return
    used, most = account
    if most <= 0:
        yield ok("account", f"{size_in_words(used)} stored, no limit")
        return
    said = f"{size_in_words(used)} of {size_in_words(most)} stored"
    if used >= most:
        yield failure("account", f"{said}: full, nothing is taken", "raise the account's limit, or remove messages")
    elif used >= _NEARLY_FULL * most:
        yield warning("account", said, "raise the account's limit before it is full; then delivery pauses")
    else:
        yield ok("account", said)


def judge_clock(server: ServerFacts) -> Iterator[Finding]:
    """Whether our clock goes like the server's: the duplicate window and the ledger's times are read off them."""
    if server.link.problem:
        return
    ahead = server.clock_ahead
    if ahead is None:
        remedy = "set NATS_MONITOR_URL, or look again when there is a stream"
        yield warning("clock", "the server's clock can't be seen", remedy)
    elif abs(ahead) - server.clock_error > _CLOCK:
        side = "behind" if ahead > 0 else "ahead of"
        said = f"this machine's clock is {duration_in_words(abs(ahead))} {side} the server's"
        yield warning("clock", said, "set it (NTP): the ledger's times and the duplicate window depend on it")
    else:
        yield ok("clock", f"within {max(abs(ahead), server.clock_error):.3f} s of the server's")
