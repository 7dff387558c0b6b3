"""A poor line between two network namespaces: packets take their time, arrive out of order, or not at all.

    python line.py HUB EDGE HUB_ADDRESS EDGE_ADDRESS

For kernels without netem. It makes a TUN device in each namespace and carries IP packets between the two. Once
they are there it prints `ready`; then each line of its input sets the line's quality, as JSON: `delay` and `jitter`
in seconds each way, `loss` as a share. It ends with its input.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import struct
import subprocess
import sys
import time

_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_TUN_WITHOUT_HEADER = 0x0001 | 0x1000  # IFF_TUN, IFF_NO_PI
_MTU = 1400
_AT_ONCE = 64


def _device(namespace: str, address: str, peer: str) -> int:
    """The near end of a TUN device whose far end is in this namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    if libc.setns(there, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", b"wire", _TUN_WITHOUT_HEADER))
    subprocess.run(["ip", "addr", "add", address, "peer", peer, "dev", "wire"], check=True)
    subprocess.run(["ip", "link", "set", "wire", "up", "mtu", str(_MTU)], check=True)
    return device


class Line:
    """Carries packets; those on their way are in a heap, by the time of their arrival."""

    def __init__(self, ends: tuple[int, int]) -> None:
        self._ends = ends
        self._dice = random.Random(1)
        self._under_way: list[tuple[float, int, int, bytes]] = []
        self._count = 0
        self._quality = {"delay": 0.0, "jitter": 0.0, "loss": 0.0}

    def run(self) -> None:
        """Until there is no more input."""
        while True:
            wait = self._under_way[0][0] - time.monotonic() if self._under_way else 1.0
            ready, _, _ = select.select([*self._ends, sys.stdin], [], [], max(0.0, wait))
            if sys.stdin in ready:
                if not (told := sys.stdin.readline()):
                    return
                self._quality = json.loads(told)
            for end in self._ends:
                if end in ready:
                    self._take(end)
            self._deliver()

    def _take(self, end: int) -> None:
        other = self._ends[end == self._ends[0]]
        for _ in range(_AT_ONCE):
            try:
                packet = os.read(end, 1 << 16)
            except BlockingIOError:
                return
            if self._dice.random() < self._quality["loss"]:
                continue
            jitter = self._dice.uniform(-1, 1) * self._quality["jitter"]
            self._count += 1
            due = time.monotonic() + max(0.0, self._quality["delay"] + jitter)
            heapq.heappush(self._under_way, (due, self._count, other, packet))

    def _deliver(self) -> None:
        while self._under_way and self._under_way[0][0] <= time.monotonic():
            _, _, end, packet = heapq.heappop(self._under_way)
            try:
                os.write(end, packet)
            except OSError:
                continue  # the other side is full: one more that is lost


if __name__ == "__main__":
    hub, edge, hub_address, edge_address = sys.argv[1:]
    line = Line((_device(hub, hub_address, edge_address), _device(edge, edge_address, hub_address)))
    print("ready", flush=True)
    line.run()
