"""Pages of HTTP servers. What listens on this machine is never asked through a proxy: there it would be another one."""

from __future__ import annotations

import ipaddress
import socket
import urllib.parse
import urllib.request
from typing import Any


def open_page(url: str, within: float) -> Any:
    """The answer, as of `urllib.request.urlopen`; `within` so many seconds.

    Raises OSError where there is none, and HTTPError, an OSError, for a status that tells of trouble.
    """
    direct = [urllib.request.ProxyHandler({})] if is_here(urllib.parse.urlsplit(url).hostname or "") else []
    return urllib.request.build_opener(*direct).open(url, timeout=within)


def is_here(host: str) -> bool:
    """Whether this is a name or an address of the loopback interface, in any spelling that the system takes."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(name))  # 127.1 and the like
        except OSError:
            return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)
