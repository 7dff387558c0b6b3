"""Programs that we did not write, and that judge what ours make: trees, notes and proofs.

`python -m tests.support.judges` builds the one in Go, which the tests use where it is there.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import metamorphic_log as metamorphic  # type: ignore[import-untyped]

from tests.support import needs

REFUSES = (metamorphic.VerifyError, metamorphic.InternalError)

_ROOT = Path(__file__).parents[2]
_SOURCE = _ROOT / "tests" / "judge" / "main.go"
_GO_PATH = Path("/usr/share/gocode")  # where Debian puts the sources of Go's libraries
_LIBRARY = _GO_PATH / "src" / "golang.org" / "x" / "mod" / "sumdb" / "tlog"


def includes(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Raises one of REFUSES where metamorphic-log does not find the leaf included."""
    metamorphic.verify_inclusion(index, size, leaf, list(proof), root)


def consistent(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Raises one of REFUSES where metamorphic-log does not find the trees consistent. It takes no empty tree."""
    metamorphic.verify_consistency(old, new, list(proof), old_root, new_root)


def checkpoint(note: bytes, vkeys: Sequence[str]) -> tuple[str, int, bytes]:
    """Origin, size and root of a checkpoint that one of these keys has signed. Raises one of REFUSES."""
    head = metamorphic.checkpoint_verify(note.decode(), list(vkeys))
    return head.origin, head.size, head.root


def included_in(note: bytes, vkey: str, index: int, row: bytes, proof: Sequence[bytes]) -> None:
    """Raises one of REFUSES where metamorphic-log does not find the row in the log of this checkpoint."""
    leaf = sha256(b"\0" + row).digest()
    metamorphic.checkpoint_verify_inclusion(note.decode(), [vkey], index, leaf, list(proof))


def built() -> Path | None:
    """The judge in Go, where it was built from the source as it is now."""
    path = _ROOT / ".cache" / "judge" / sha256(_SOURCE.read_bytes()).hexdigest()[:16]
    return path if path.exists() else None


def build() -> Path:
    """Builds the judge in Go, once. Where this machine can't, the test is skipped, or fails on CI."""
    if (path := built()) is not None:
        return path
    go = shutil.which("go") or shutil.which("go", path="/usr/lib/go/bin:/usr/local/go/bin")
    if go is None or not _LIBRARY.is_dir():
        needs.missing("needs Go and golang-golang-x-mod-dev; see `make test-deps`")
    path = _ROOT / ".cache" / "judge" / sha256(_SOURCE.read_bytes()).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": str(_GO_PATH), "GOFLAGS": ""}
    part = path.with_suffix(f".{os.getpid()}")
    subprocess.run([go, "build", "-o", part, "."], cwd=_SOURCE.parent, env=environment, check=True, timeout=300)
    part.rename(path)
    return path


class GoJudge:
    """Go's sumdb/note and sumdb/tlog, in a process of their own that answers one question after another."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, op: str, **values: Any) -> dict[str, Any]:
        """The answer: `OK`, and what it found, or the `Error`. Bytes go in as they are, and come back in base64."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"op": op} | {name: _plain(one) for name, one in values.items()}).encode())
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert "no question" not in answer.get("Error", ""), answer
        return answer

    def accepts(self, op: str, **values: Any) -> bool:
        """Whether it finds nothing wrong."""
        return bool(self.ask(op, **values)["OK"])

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return value


if __name__ == "__main__":
    try:
        print(f"the judge in Go is {build()}")
    except BaseException as error:  # pytest's own way to skip is none of Exception
        print(f"without the judge in Go: {error}", file=sys.stderr)
