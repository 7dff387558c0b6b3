"""A network namespace that containers and tests can share."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from tests.deploy.commands import run

_CLONE_NEWNET = 0x4000_0000

P = ParamSpec("P")
T = TypeVar("T")


class Network:
    """A network namespace of our own, with nothing but its loopback address."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._inside = ThreadPoolExecutor(1, initializer=self._enter)

    @property
    def path(self) -> str:
        return f"/run/netns/{self.name}"

    def make(self) -> None:
        run("ip", "netns", "add", self.name)
        run("ip", "-n", self.name, "link", "set", "lo", "up")

    def join(self, hub: Network, number: int) -> str:
        """Connects two networks, as the only ones of this number; returns the address of the hub as seen from ours."""
        ours, theirs = f"site{number}", f"hub{number}"
        run("ip", "-n", self.name, "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", hub.name)
        for network, link, host in ((self, ours, 2), (hub, theirs, 1)):
            run("ip", "-n", network.name, "address", "add", f"10.77.{number}.{host}/24", "dev", link)
            run("ip", "-n", network.name, "link", "set", link, "up")
        return f"10.77.{number}.1"

    def remove(self) -> None:
        self._inside.shutdown()
        run("ip", "netns", "delete", self.name)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls a function in a thread that lives in the namespace: sockets that it opens are in there."""
        return self._inside.submit(function, *args, **kwargs).result()

    def _enter(self) -> None:
        """A namespace is a thread's: the rest of this process stays where it is."""
        with open(self.path) as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
