"""Writes what NATS includes, before NATS starts: the output of `syncdaemon permissions`, and what that refers to.

    print_config.py hub SITES USERS FOLDER     the accounts of a hub, with the logins that lie in USERS
    print_config.py leaf FOLDER                the leaf node of the site SITE

A party whose login is missing gets none: it stays outside, and all others get in. Without the hub's own password, NATS
does not start.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

OWN = "hub-password.conf"


def printed(*arguments: str) -> str:
    """What the command prints. Raises SystemExit with the command's code."""
    done = subprocess.run(["syncdaemon", "permissions", *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout


def write(path: Path, data: bytes) -> None:
    """For this user and the group alone; in place of what an earlier start of the pod has left."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o640)
    path.write_bytes(data)


def include(folder: Path, name: str) -> None:
    """NATS finds this file of its ConfigMap in the folder too."""
    write(folder / name, f"include ../nats/{name}\n".encode())


def hub(sites: str, users: Path, folder: Path) -> None:
    """The accounts, and a login for each party."""
    text = printed("--role", "hub", "--sites", sites)
    (folder / "users").mkdir(mode=0o750, exist_ok=True)
    for name in re.findall(r'^\s*include "users/(.+?)"', text, re.MULTILINE):
        given = users / name
        if given.is_file():
            write(folder / "users" / name, given.read_bytes())
        elif name == OWN:
            raise SystemExit(f"print_config: the Secret nats-users has no key {OWN}: docs/DEPLOYMENT.md, At the hub")
        else:
            print(f"print_config: the Secret nats-users has no key {name}: nobody can log in as this party")
            write(folder / "users" / name, b"users: []\n")
    include(folder, "jetstream.conf")
    write(folder / "accounts.conf", text.encode())


def leaf(folder: Path) -> None:
    """The leaf node's remote, and JetStream's domain."""
    include(folder, "jetstream.conf")
    include(folder, "hub.conf")
    write(folder / "leaf.conf", printed("--role", "leaf").encode())


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["hub", sites, users, folder]:
            hub(sites, Path(users), Path(folder))
        case ["leaf", folder]:
            leaf(Path(folder))
        case _:
            raise SystemExit(__doc__)
