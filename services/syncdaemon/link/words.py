"""What is said to people: a server's URL without its password, and why there is no connection to it."""

from __future__ import annotations

import ssl

from syncdaemon.link.inbound import Garbage
from syncdaemon.link.options import CONNECT_SECONDS

_SHOWN = 300  # characters of what a server says


def bare(url: str) -> str:
    """The URL without user and password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def is_cheap(error: Exception, tls: bool) -> bool:
    """Whether the attempt to connect that ended so cost the server nothing, so that it can be repeated soon.

    It did where the server was reached: it refused us in words, had no time for us, or began a TLS handshake. A
    connection without TLS that is cut off is one of a network that flaps.
    """
    if isinstance(error, TimeoutError | ssl.SSLError | Garbage) or not isinstance(error, OSError):
        return False
    return not tls or not isinstance(error, ConnectionError) or isinstance(error, ConnectionRefusedError)


def explain(error: Exception, url: str, tls_first: bool = False) -> str:
    """What an error of connecting to this URL means in words, with the remedy where it is known."""
    text = (str(error) or type(error).__name__).removeprefix("nats: ").strip("'")[:_SHOWN]
    if isinstance(error, TimeoutError) and "TLS" not in text:
        text = f"no answer within {CONNECT_SECONDS:g} seconds"
    silent = isinstance(error, TimeoutError) or "empty response" in text
    if url.startswith("tls://") and silent and not tls_first:
        text = f"{text}; a server that has handshake_first wants NATS_TLS_FIRST=true"
    other = isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER"
    if other or (tls_first and silent):
        text = f"{text}; what answers there does not begin with TLS, so it wants NATS_TLS_FIRST=false"
    cut_off = "lost" in text or isinstance(error, BrokenPipeError | ConnectionResetError)
    if cut_off and url.startswith("tls://"):  # TLS 1.3: the refusal may come after our first bytes have
        text = f"{text} in the TLS handshake; a server that asks for a certificate wants NATS_TLS_CERT"
    if "uthorization" in text or "uthentication" in text:
        text = f"{text}: the server refused the credentials; check NATS_CREDS, NATS_NKEY_SEED, NATS_USER or NATS_TOKEN"
    return f"{bare(url)}: {text}"
