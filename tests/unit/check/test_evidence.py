"""What doctor finds of the ledger's folder, where it may not look."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syncdaemon.check.doctor.evidence import _folder


def test_a_folder_that_may_not_be_looked_at_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parent belongs to another user, say. Path.exists raises there; that was a traceback."""
    hidden = tmp_path / "hidden"
    stat = os.stat

    def denied(path: int | str | bytes | os.PathLike[str] | os.PathLike[bytes], **options: bool) -> os.stat_result:
        if not isinstance(path, int) and os.fsdecode(path).startswith(f"{hidden}/"):
            raise PermissionError(13, "Permission denied", path)
        return stat(path, **options)

    hidden.mkdir()
    monkeypatch.setattr(os, "stat", denied)
    monkeypatch.setattr(os, "access", lambda path, mode, **options: Path(path) != hidden)
    found = _folder(hidden / "ledger")
    assert found.problem == f"{hidden / 'ledger'} is not there and can't be made in {hidden}"
