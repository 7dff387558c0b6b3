"""The token's file: looked at when the program starts, and read again whenever the token is needed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from syncdaemon.base.errors import SettingsError
from syncdaemon.web.access import NO_TOKEN_SET, NO_USABLE_TOKEN
from syncdaemon.web.token import TokenFile

TOKEN = "a-token-of-24-characters"


def written(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def complaint(path: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        TokenFile(path).check()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_a_file_there_is_no_token() -> None:
    TokenFile(None).check()
    assert TokenFile(None).current() is NO_TOKEN_SET


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "  \n"])
def test_blanks_at_the_end_do_not_count(tmp_path: Path, end: str) -> None:
    file = TokenFile(written(tmp_path / "token", TOKEN + end))
    file.check()
    assert file.current() == TOKEN.encode()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "the file is empty"),
        ("\n", "the file is empty"),
        ("fifteen-charact", "the file holds 15 characters"),
        ("x" * 1025, "the file holds more than 1024 characters"),
        ("x" * 5000, "the file holds more than 1024 characters"),
        ("two words and more", "the file holds blanks, or what is not printable"),
        (b"sixteen-or-more-\xff\xfe", "the file holds blanks, or what is not printable"),
        (f"{TOKEN}\n{TOKEN}", "the file holds blanks, or what is not printable"),
    ],
)
def test_a_file_without_a_usable_token_is_refused_at_the_start(tmp_path: Path, content: str | bytes, what: str) -> None:
    path = written(tmp_path / "token", content)
    line = complaint(path)
    assert line.startswith(f"SYNC_HTTP_TOKEN_FILE: {what} ({str(path)!r}), name a file that holds 16 to 1024")
    assert TOKEN not in line


def test_so_is_what_is_no_file(tmp_path: Path) -> None:
    """A pipe is not waited for."""
    os.mkfifo(tmp_path / "pipe")
    assert "no such file or directory" in complaint(tmp_path / "missing")
    assert "not a regular file" in complaint(tmp_path)
    assert "not a regular file" in complaint(tmp_path / "pipe")


def test_the_token_itself_in_place_of_its_file_is_not_shown() -> None:
    assert TOKEN not in complaint(Path(TOKEN))


@pytest.mark.parametrize(("mode", "lines"), [(0o600, 0), (0o440, 0), (0o644, 1), (0o602, 1)])
def test_a_file_that_others_can_read_or_write_is_warned_of(tmp_path: Path, mode: int, lines: int) -> None:
    path = written(tmp_path / "token", TOKEN, mode)
    with capture_logs() as logged:
        TokenFile(path).check()
    assert [line["event"] for line in logged] == ["http_token_open_to_others"] * lines
    assert TOKEN not in str(logged)


def test_a_new_token_counts_at_once_as_kubernetes_exchanges_it(tmp_path: Path) -> None:
    """A mounted Secret is a symlink to a symlink to a folder; the middle one is exchanged."""
    for name, token in (("..1", TOKEN), ("..2", TOKEN[::-1])):
        (tmp_path / name).mkdir()
        written(tmp_path / name / "token", token, 0o440)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "token").symlink_to("..data/token")
    file = TokenFile(tmp_path / "token")
    assert file.current() == TOKEN.encode()
    (tmp_path / "..next").symlink_to("..2")
    (tmp_path / "..next").rename(tmp_path / "..data")
    assert file.current() == TOKEN[::-1].encode()


def test_a_token_that_is_taken_away_counts_no_more(tmp_path: Path) -> None:
    """And the log says it once, however often strangers ask."""
    path = written(tmp_path / "token", TOKEN)
    file = TokenFile(path)
    assert file.current() == TOKEN.encode()
    written(path, "short")
    with capture_logs() as logged:
        assert file.current() is NO_USABLE_TOKEN
        path.unlink()
        assert file.current() is NO_USABLE_TOKEN
    assert [line["event"] for line in logged] == ["http_token_unusable"]
    assert "short" not in str(logged)
    written(path, TOKEN)
    assert file.current() == TOKEN.encode()
