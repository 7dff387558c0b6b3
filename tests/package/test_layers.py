"""Who may import whom: the two tables, and every module held to them.

The first table says what each folder of the package may import. The second names the modules that are pure: they
decide, and the world comes to them as arguments. Both tables have no exceptions.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "services" / "syncdaemon"

# A row for a module is stronger than the row of its folder. A folder's own modules may always import one another.
MAY_IMPORT: dict[str, set[str]] = {
    "base": set(),
    "client": {"base"},
    "link": {"base"},
    "spool": {"base"},
    "evidence": {"base"},
    "ledger": {"base", "evidence"},
    "web": {"base"},
    "stream": {"base", "link"},
    "deliver": {"base", "ledger.rows"},  # the rest is handed in
    "publish": {"base", "link", "stream", "ledger.rows"},
    "settings": {"base"},
    "settings.parts": {"base", "link", "spool", "stream", "publish"},
    "daemon": {"base", "link", "spool", "evidence", "ledger", "web", "stream", "deliver", "publish", "settings"},
    "receive": {"base", "link", "web", "stream", "settings"},
    "check": {"base", "link", "spool", "ledger", "stream", "publish", "settings"},
    "dev": {"base", "client", "spool", "settings", "daemon"},
    "hub": {"base", "link", "stream", "settings"},
    "cli": {
        *{"base", "link", "spool", "evidence", "ledger", "web", "stream", "deliver", "publish", "settings", "daemon"},
        *{"receive", "check", "dev", "hub", "client"},
    },
    "__main__": {"cli"},
}

# Time and the outside come to these as arguments: so they can be tested with neither sleep nor mock.
PURE = {
    "base.keep",
    *{"base.errors", "base.model", "base.units", "base.timetable", "base.pause", "base.printable", "base.sizes"},
    *{"base.taken", "base.tickets"},
    *{"spool.arrival", "spool.backlog", "spool.faults", "spool.line", "spool.settle", "spool.sharing", "spool.waiting"},
    *{"link.frame", "link.inbound", "link.pulse", "link.pace", "link.validity"},
    *{"stream.verdict", "stream.stored", "stream.object_format", "stream.buckets", "stream.tombstone"},
    *{"stream.answers", "stream.calls", "stream.fields", "stream.info", "stream.pulled", "stream.room"},
    *{"publish.message", "publish.doubt", "publish.recent", "publish.choice", "publish.objects.resume"},
    *{"publish.pauses"},
    *{"evidence.strict", "evidence.tree", "evidence.tiles", "evidence.ed25519", "evidence.notes", "evidence.origins"},
    *{"evidence.policy", "evidence.proofs"},
    *{"ledger.chain", "ledger.memory", "ledger.rows", "ledger.subjects", "daemon.filling"},
    *{"receive.incoming", "receive.origin", "receive.pull.demand"},
    *{"check.compare", "check.receipts", "check.diagnosis"},
    *{"hub.site_list", "hub.accounts", "hub.conf", "hub.roles", "hub.streams"},
    *{"hub.jwt", "hub.limits"},
    *{"settings.table", "settings.given", "settings.values", "settings.addresses", "settings.users"},
    *{"web.access", "web.calls", "web.pages", "web.views"},
}
NOT_IN_PURE = {"asyncio", "os", "socket", "time"}

HOMES: dict[str, set[str]] = {
    "aiofiles": {"dev.site"},
    "aiohttp": {"web"},
    "nacl": {"evidence.ed25519"},
    "nats": {"link"},
    "nkeys": {"hub.keys"},
    "prometheus_client": {"client.gauges", "daemon.metrics", "receive.meter"},
    "signal": {"daemon.process", "dev", "cli.interrupt"},
    "watchfiles": {"spool.watch"},
    "zstandard": {"base.packing", "receive"},
}

# Calls that macOS does not have, by how they are written in the code. Each has a home, which knows what to do without.
LINUX_ONLY: dict[str, str] = {
    **dict.fromkeys(("F_SETLEASE", "F_GETLEASE", "/proc/self/status"), "base.leases"),
    **dict.fromkeys(("fdatasync", "posix_fadvise", "posix_fallocate", "renameat2"), "base.disk"),
    **dict.fromkeys(("O_PATH", "openat2"), "base.beneath"),
    **dict.fromkeys(("TCP_INFO", "TIOCOUTQ", "SIOCOUTQ", "TCP_USER_TIMEOUT"), "link.kernel"),
    **dict.fromkeys(("inotify_init1", "inotify_add_watch"), "spool.inotify"),
    **dict.fromkeys(("/proc/self/fd",), "base.descriptors"),
    **dict.fromkeys(("SO_PEERCRED", "/proc/sys/kernel/overflowuid"), "base.peers"),
    **dict.fromkeys(("/proc/self/mountinfo", "/proc/sys/fs/inotify/max_user_watches"), "check.doctor.machine"),
    **dict.fromkeys(("SEEK_DATA", "SEEK_HOLE"), "spool.holes"),
    **dict.fromkeys(("TCP_DEFER_ACCEPT",), "web.listener"),
    **dict.fromkeys(("prctl",), "dev.leash"),
    **dict.fromkeys(("waitid",), "dev.server"),
    **dict.fromkeys(("SIGRTMIN", "SIGRTMAX", "SIGPWR", "SIGSTKFLT", "SIGPOLL"), "daemon.process"),
}
NO_HOME_YET = {  # whoever needs one of these gives it a home above, with what is done where it is missing
    *{"O_TMPFILE", "O_DIRECT", "O_NOATIME", "SO_BINDTODEVICE", "SOCK_CLOEXEC", "SOCK_NONBLOCK"},
    *{
        "eventfd",
        "copy_file_range",
        "splice",
        "memfd_create",
        "pidfd_open",
        "pipe2",
        "getrandom",
        "epoll",
        "sigtimedwait",
    },
    *{"sched_getaffinity", "sched_setaffinity", "sched_setscheduler", "setresuid", "getresuid", "unshare", "setns"},
    *{"getxattr", "setxattr", "listxattr", "removexattr", "F_OFD_SETLK", "F_OFD_SETLKW", "F_ADD_SEALS", "F_NOTIFY"},
}


def dotted(path: Path) -> str:
    """The name of a module below the package: `link.session`; of a folder's own module that of the folder."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {dotted(path): path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"}


def within(name: str, places: set[str]) -> bool:
    """Whether a dotted name is one of these places, or below one."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported anywhere in a module, inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for name in node.names:
                yield node.lineno, f"{base}.{name.name}"


def is_pure(module: str) -> bool:
    """Whether the second table names it."""
    return within(module, PURE)


def breaches(module: str, source: str) -> Iterator[str]:
    """Every import of this module that a table does not allow."""
    folder = module.partition(".")[0]
    allowed = MAY_IMPORT.get(module, MAY_IMPORT[folder]) | {folder}
    for line, name in imports(source):
        top, _, ours = name.partition(".")
        if not top:
            yield f"line {line}: {name}: imports are absolute here"
        elif top == "services":
            yield f"line {line}: {name}: say syncdaemon: this would make a second copy of the package"
        elif top == "syncdaemon":
            if ours != "__version__" and not within(ours, allowed):
                yield f"line {line}: {module} may not import {ours}"
        elif top in HOMES and not within(module, HOMES[top]):
            yield f"line {line}: {top} has its home in {' and '.join(sorted(HOMES[top]))}, not in {module}"
        elif top in NOT_IN_PURE and is_pure(module):
            yield f"line {line}: {module} decides, so it may not import {top}"


def graph(modules: Mapping[str, Path]) -> dict[str, set[str]]:
    """Who imports whom among our modules; an import of a name is one of the deepest module that it names."""
    arrows: dict[str, set[str]] = {module: set() for module in modules}
    for module, path in modules.items():
        for _, name in imports(path.read_text(encoding="utf-8")):
            target = name.removeprefix("syncdaemon.")
            while target and target not in modules:
                target = target.rpartition(".")[0]
            if name.startswith("syncdaemon.") and target and target != module:
                arrows[module].add(target)
    return arrows


def test_the_folders_of_the_package_are_those_of_the_table() -> None:
    """And no module lies beside them."""
    entries = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name not in ("__pycache__", "logs")}
    assert entries == {name for name in MAY_IMPORT if "." not in name and name != "__main__"}
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_every_name_in_the_tables_is_there() -> None:
    """A table that speaks of what has gone is not read any more."""
    named = {*MAY_IMPORT, *PURE, *(home for homes in HOMES.values() for home in homes)}
    assert named - MODULES.keys() == set()


@pytest.mark.parametrize("module", MODULES)
def test_imports_follow_the_tables(module: str) -> None:
    found = dict.fromkeys(breaches(module, MODULES[module].read_text(encoding="utf-8")))  # a line says it once
    assert list(found) == []


def test_no_circle() -> None:
    """Neither among the modules nor among the folders."""
    arrows = graph(MODULES)
    folders: dict[str, set[str]] = {}
    for module, targets in arrows.items():
        folder = module.partition(".")[0]
        folders.setdefault(folder, set()).update({target.partition(".")[0] for target in targets} - {folder})
    for which in (arrows, folders):
        try:
            TopologicalSorter(which).prepare()
        except CycleError as error:
            pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_the_prefix_of_jetstreams_api_stands_in_one_module() -> None:
    """It is a value: a domain has another one. Docstrings count as well, lest a second spelling begins there."""
    spelt = {module for module, path in MODULES.items() if "$JS.API" in path.read_text(encoding="utf-8")}
    assert spelt == {"stream.calls"}


def test_the_package_itself_imports_nothing() -> None:
    assert list(imports((PACKAGE / "__init__.py").read_text(encoding="utf-8"))) == []


def linux_calls(source: str) -> Iterator[str]:
    """The names of calls that Linux alone has, in what is executed: attributes, and text such as a library's symbol."""
    wanted = {*LINUX_ONLY, *NO_HOME_YET}
    tree = ast.parse(source)
    words = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in wanted:
            yield node.attr
        elif isinstance(node, ast.Constant) and id(node) not in words and isinstance(node.value, str | bytes):
            text = node.value if isinstance(node.value, str) else node.value.decode(errors="replace")
            yield from (name for name in wanted if text == name or (name[0] == "/" and text.startswith(name)))
            if "/proc/" in text and not text.startswith(tuple(wanted)):
                yield text


@pytest.mark.parametrize("module", MODULES)
def test_what_linux_alone_has_is_called_in_its_home_only(module: str) -> None:
    found = set(linux_calls(MODULES[module].read_text(encoding="utf-8")))
    assert {name for name in found if not within(module, {LINUX_ONLY.get(name, "nowhere")})} == set()


def test_what_linux_alone_has_is_found() -> None:
    """As an attribute, as the name of a symbol, as a path; a docstring may speak of it."""
    source = 'def f():\n    """prctl"""\n    os.fdatasync(1), getattr(libc, "prctl")\nf("/proc/self/fd/3", "/proc/9")'
    assert sorted(linux_calls(source)) == ["/proc/9", "/proc/self/fd", "fdatasync", "prctl"]


def test_services_is_a_folder_and_no_package() -> None:
    assert not (PACKAGE.parent / "__init__.py").exists()


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("base.errors", "from syncdaemon.link import frame"),
        ("ledger.chain", "import os"),
        ("ledger.chain", "from os import path"),
        ("spool.settle", "def now():\n    from time import time"),
        ("spool.scan", "from syncdaemon.link import pace"),
        ("ledger.files", "from syncdaemon import publish"),
        ("ledger.files", "from syncdaemon.publish import Publisher"),
        ("ledger.files", "import syncdaemon.publish"),
        ("ledger.files", "from . import chain"),
        ("ledger.files", "from services.syncdaemon import chain"),
        ("publish.lane", "import nats.js"),
        ("publish.lane", "from syncdaemon.ledger import Ledger"),
        ("link.session", "from syncdaemon import publish"),
        ("deliver", "from syncdaemon import spool"),
        ("deliver", "from syncdaemon.ledger import chain"),
        ("settings", "from syncdaemon.link import LinkSettings"),
        ("daemon", "from syncdaemon import cli"),
        ("daemon", "from watchfiles import awatch"),
        ("receive.worker", "from syncdaemon.publish import message"),
        ("cli", "import signal"),
    ],
)
def test_a_planted_breach_is_found(module: str, source: str) -> None:
    assert len(list(breaches(module, source))) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ledger.chain", "import json\nfrom syncdaemon.base.errors import SyncError"),
        ("publish.lane", "import asyncio\nfrom syncdaemon import link\nfrom syncdaemon.ledger.rows import Row"),
        ("spool", "from syncdaemon.spool import watch\nfrom syncdaemon import __version__"),
        ("settings.parts", "import os\nfrom syncdaemon.link import LinkSettings"),
        ("link.client", "from nats.aio.client import Client"),
        ("__main__", "from syncdaemon.cli import main"),
    ],
)
def test_what_the_tables_allow_is_let_through(module: str, source: str) -> None:
    assert list(breaches(module, source)) == []
