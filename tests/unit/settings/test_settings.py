"""What a user may write as a setting, what it means, and what each mistake is answered with."""

from __future__ import annotations

import re
import stat
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.base import units
from syncdaemon.base.errors import SettingsError
from syncdaemon.base.timetable import OFF
from syncdaemon.evidence.origins import LONGEST_BASE
from syncdaemon.settings.given import Texts, gather
from syncdaemon.settings.table import VARIABLES
from syncdaemon.settings.values import Loaded, Settings

SEED = "SUAOTBNEUSAMPLESEEDFORTESTSONLYABCDEFGHIJKLMNOPQRSTUVWXYZ2"


def load(**environ: str) -> Settings:
    return Settings.load({}, environ, {}).settings


def complaint(**environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(**environ)
    return str(caught.value)


def outcome(**environ: str) -> tuple[Loaded | None, str]:
    try:
        return Settings.load({}, environ, {}), ""
    except SettingsError as error:
        return None, str(error)


def shown(flags: Texts, environ: Texts, dotenv: Texts) -> dict[str, str]:
    return {row.variable: row.value for row in gather(flags, environ, dotenv).shown()}


# --- where values come from


def test_a_flag_wins_over_the_environment_and_that_over_dotenv() -> None:
    names = ("SYNC_ORDER", "SYNC_AFTER", "SYNC_STREAM", "SITE")
    dotenv = {"SYNC_STREAM": "from-dotenv", "SYNC_AFTER": "delete", "SYNC_ORDER": "oldest"}
    environ = {"SYNC_AFTER": "archive", "SYNC_ORDER": "oldest"}
    settings, sources = Settings.load({"SYNC_ORDER": "newest"}, environ, dotenv)
    assert (settings.sync_order, settings.sync_after, settings.sync_stream) == (
        "newest",
        "archive",
        "from-dotenv",
    )
    assert [sources[name] for name in names] == ["flag", "environment", ".env", "default"]


def test_every_variable_has_a_source() -> None:
    assert tuple(Settings.load({}, {}, {}).sources) == VARIABLES


def test_an_empty_value_counts_as_unset() -> None:
    loaded = Settings.load({}, {"SYNC_ORDER": "", "SYNC_AFTER": ""}, {"SYNC_AFTER": "archive", "NATS_TOKEN": None})
    assert (loaded.settings.sync_order, loaded.sources["SYNC_ORDER"]) == ("oldest", "default")
    assert (loaded.settings.sync_after, loaded.sources["SYNC_AFTER"]) == ("archive", ".env")
    assert loaded.settings.nats_token is None


def test_an_empty_flag_is_a_value_and_a_wrong_one() -> None:
    with pytest.raises(SettingsError, match="SITE: not a site label"):
        Settings.load({"SITE": ""}, {"SITE": "a"}, {})


def test_only_what_is_handed_in_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SYNC_AFTER=archive\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNC_ORDER", "newest")
    settings = load()
    assert (settings.sync_order, settings.sync_after) == ("oldest", "delete")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().site = "other"


def test_several_problems_are_one_line() -> None:
    assert complaint(SYNC_AFTER="keep", SYNC_ORDR="x", SITE="A b") == (
        "SYNC_ORDR is not a setting; did you mean SYNC_ORDER?; "
        "SITE: not a site label ('A b'), use 1 to 63 of a-z, 0-9 and -; "
        "SYNC_AFTER: not 'delete' or 'archive' ('keep'), write one of these"
    )


def test_a_value_with_line_breaks_is_complained_about_in_one_line() -> None:
    assert "\n" not in complaint(SITE="a\nb", SYNC_SUBJECT="a\nb", SYNC_AFTER="a\nb", NATS_URL="a\nb")


# --- names that are no settings


@pytest.mark.parametrize("source", ["environment", ".env"])
def test_a_misspelt_setting_is_an_error(source: str) -> None:
    given = {"SYNC_SETLE_SECONDS": "1"}
    with pytest.raises(SettingsError) as caught:
        Settings.load({}, given if source == "environment" else {}, given if source == ".env" else {})
    assert str(caught.value) == "SYNC_SETLE_SECONDS is not a setting; did you mean SYNC_SETTLE_SECONDS?"


def test_small_letters_are_not_ignored() -> None:
    assert complaint(sync_after="archive") == "sync_after is not a setting; did you mean SYNC_AFTER?"


def test_an_unknown_setting_like_no_other_points_to_the_list() -> None:
    assert complaint(SYNC_QQQ="1") == "SYNC_QQQ is not a setting; docs/CONFIGURATION.md has them all"


def test_an_unknown_flag_is_an_error() -> None:
    with pytest.raises(SettingsError, match="site is not a setting; did you mean SITE"):
        Settings.load({"site": "a"}, {}, {})


def test_what_kubernetes_adds_for_a_service_is_no_error() -> None:
    address = "tcp://10.96.0.12:8080"
    load(
        SYNC_SERVICE_HOST="10.96.0.12", SYNC_SERVICE_PORT="8080", SYNC_SERVICE_PORT_HTTP="8080", SYNC_PORT=address,
        SYNC_PORT_8080_TCP=address, SYNC_PORT_8080_TCP_PROTO="tcp", SYNC_PORT_8080_TCP_PORT="8080",
        SYNC_PORT_8080_TCP_ADDR="10.96.0.12", SYNC_HTTP_SERVICE_HOST="10.96.0.12", SYNC_HTTP_PORT=address,
        NATS_PORT="tcp://10.96.0.13:4222", NATS_SERVICE_HOST="10.96.0.13", NATS_ANYTHING="1",
    )  # fmt: skip


def test_a_port_that_a_person_wrote_is_no_service() -> None:
    assert complaint(SYNC_HTTP_PORT="9090") == "SYNC_HTTP_PORT is not a setting; did you mean SYNC_HTTP_ADDR?"


# --- sizes, durations, seconds, yes and no


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("1", 1), ("64Mi", 67_108_864), ("512k", 512_000), ("1Gi", 1 << 30), ("2Ki", 2048), ("3M", 3 * 10**6),
     ("1G", 10**9), ("1T", 10**12), ("1Ti", 1 << 40), (str(2**63 - 1), 2**63 - 1)],
)  # fmt: skip
def test_a_size(text: str, value: int) -> None:
    assert load(SYNC_MIN_FREE_BYTES=text).sync_min_free_bytes == value
    assert load(SYNC_STREAM_MAX_BYTES=text).sync_stream_max_bytes == value


@given(st.integers(0, 2**63 - 1) | st.builds(lambda n, u: n * 1024**u, st.integers(0, 999), st.integers(0, 5)))
def test_a_size_is_written_as_it_is_read(value: int) -> None:
    assert units.size(units.size_text(value)) == value


@given(st.integers(1, 999), st.sampled_from(["", "Ki", "Mi", "Gi", "Ti", "k", "M", "G", "T"]))
def test_a_size_is_never_written_longer_than_it_was(number: int, unit: str) -> None:
    text = f"{number}{unit}"
    assert len(units.size_text(units.size(text))) <= len(text) + 1  # 1000Ki and 1024k are one size


@pytest.mark.parametrize("text", ["64MB", "64mi", "1.5Gi", "-1", "64 Mi", "K", "K1", "1K", "0x10", "٣", "1_000", "Mi"])
def test_no_size(text: str) -> None:
    assert complaint(SYNC_MIN_FREE_BYTES=text) == (
        f"SYNC_MIN_FREE_BYTES: not a size ('{text}'), "
        "write whole bytes, or with Ki, Mi, Gi, Ti (1024s) or k, M, G, T (1000s)"
    )


def test_a_size_beyond_what_a_server_counts() -> None:
    assert complaint(SYNC_STREAM_MAX_BYTES="8388608Ti") == (
        "SYNC_STREAM_MAX_BYTES: too large ('8388608Ti'), write at most 8388607Ti"
    )
    assert load(SYNC_STREAM_MAX_BYTES="8388607Ti").sync_stream_max_bytes == 8388607 << 40


@pytest.mark.parametrize("text", ["250k", "-1", "2.5", " 1"])
def test_a_number_of_messages_is_digits_alone(text: str) -> None:
    assert complaint(SYNC_STREAM_MAX_MSGS=text).startswith("SYNC_STREAM_MAX_MSGS: not a whole number")
    assert complaint(SYNC_STREAM_MAX_MSGS="9" * 19).startswith("SYNC_STREAM_MAX_MSGS: too large")
    assert load(SYNC_STREAM_MAX_MSGS="250000").sync_stream_max_msgs == 250_000


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0.0), ("90", 90.0), ("0.5", 0.5), ("45s", 45.0), ("15m", 900.0), ("12h", 43_200.0), ("30d", 2_592_000.0),
     ("1.5h", 5400.0)],
)  # fmt: skip
def test_a_duration(text: str, value: float) -> None:
    assert load(SYNC_STREAM_MAX_AGE=text).sync_stream_max_age == value


@given(st.floats(0.1, 9.2e9) | st.integers(1, 9_200_000_000).map(float) | st.just(0.0))
def test_a_duration_is_written_as_it_is_read(value: float) -> None:
    assert units.max_age(units.max_age_text(value)) == value


@pytest.mark.parametrize("text", ["a month", "30D", "1w", "-1", "nan", "infd", "d", "1d12h", "30 d x"])
def test_no_duration(text: str) -> None:
    assert complaint(SYNC_STREAM_MAX_AGE=text) == (
        f"SYNC_STREAM_MAX_AGE: not a duration ('{text}'), write seconds, or a number with s, m, h or d, such as 30d"
    )


@pytest.mark.parametrize("text", ["0.05", "200000d"])
def test_a_duration_that_no_stream_takes(text: str) -> None:
    assert complaint(SYNC_STREAM_MAX_AGE=text) == (
        f"SYNC_STREAM_MAX_AGE: out of a stream's range ('{text}'), write 0 for no limit, or 0.1 (seconds) to 106000d"
    )


@given(st.floats(0, allow_infinity=False, allow_nan=False))
def test_seconds_are_written_as_they_are_read(value: float) -> None:
    assert units.seconds(units.seconds_text(value)) == value


@pytest.mark.parametrize("variable", ["SYNC_SETTLE_SECONDS", "SYNC_HOLD_SECONDS", "SYNC_RESCAN_SECONDS"])
@pytest.mark.parametrize("text", ["-0.1", "nan", "inf", "5s", "soon"])
def test_no_seconds(variable: str, text: str) -> None:
    expected = f"{variable}: not a number of seconds ('{text}'), write a plain number, 0 or more"
    assert complaint(**{variable: text}) == expected


def test_only_the_rescan_needs_more_than_no_seconds() -> None:
    settings = load(SYNC_SETTLE_SECONDS="0", SYNC_HOLD_SECONDS="0")
    assert (settings.sync_settle_seconds, settings.sync_hold_seconds) == (0, 0)
    expected = "SYNC_RESCAN_SECONDS: not more than 0 seconds ('0'), write a number above 0"
    assert complaint(SYNC_RESCAN_SECONDS="0") == expected


@pytest.mark.parametrize(("text", "value"), [("false", False), ("FALSE", False), ("0", False), ("yes", True)])
def test_a_yes_or_no(text: str, value: bool) -> None:
    assert load(EDGE_MODE=text, SYNC_STREAM_CREATE=text).edge_mode is value


def test_no_yes_or_no() -> None:
    assert complaint(EDGE_MODE="maybe") == "EDGE_MODE: not a yes or no ('maybe'), write true or false"


def test_no_number_of_replicas() -> None:
    assert load(SYNC_STREAM_REPLICAS="3").sync_stream_replicas == 3
    expected = "SYNC_STREAM_REPLICAS: not a number of replicas ('6'), write a whole number from 1 to 5"
    assert complaint(SYNC_STREAM_REPLICAS="6") == expected


# --- site, stream and subject


@given(st.text())
def test_any_host_name_gives_a_legal_site(hostname: str) -> None:
    site = units.site_of(hostname)
    assert units.site(site) == site
    assert not site.startswith("-")


@given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True))
def test_a_host_name_that_is_a_site_is_kept(name: str) -> None:
    assert units.site_of(name) == name == load(SITE=name).site


def test_the_site_is_the_host_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.node", lambda: "Harbour_2.Example.org")
    assert load().site == "harbour-2-example-org"
    monkeypatch.setattr("platform.node", lambda: "")
    assert load().site == "edge"
    monkeypatch.setattr("platform.node", lambda: "a" * 64)
    assert load().site == "a" * 63


@pytest.mark.parametrize("text", ["Harbour", "a_b", "a.b", "a" * 64, "hafen-ä", "a "])
def test_no_site(text: str) -> None:
    assert complaint(SITE=text) == f"SITE: not a site label ('{text}'), use 1 to 63 of a-z, 0-9 and -"


@pytest.mark.parametrize("text", ["a b", "a.b", "a*", ">", "a/b", "a\\b", "a" * 256, "a\tb"])
def test_no_stream_name(text: str) -> None:
    assert complaint(SYNC_STREAM=text) == (
        f"SYNC_STREAM: not a stream name ({text!r}), use 1 to 255 characters, none of them a blank or one of . * > / \\"
    )


def test_an_empty_stream_name() -> None:
    with pytest.raises(SettingsError, match="SYNC_STREAM: not a stream name"):
        Settings.load({"SYNC_STREAM": ""}, {}, {})


def test_the_default_subject() -> None:
    settings = load(SITE="harbour-2")
    assert settings.subject_is_per_digest
    assert settings.subject_wildcard == "edge.replay.*.*"
    assert settings.subject_for("ab" * 32) == f"edge.replay.harbour-2.{'ab' * 32}"


def test_a_plain_subject() -> None:
    settings = load(SITE="harbour-2", SYNC_SUBJECT="edge.replay")
    assert not settings.subject_is_per_digest
    assert settings.subject_wildcard == settings.subject_for("ab" * 32) == "edge.replay"


def test_a_wildcard_stands_for_a_whole_token() -> None:
    settings = load(SITE="a", SYNC_SUBJECT="edge.site-{site}.files")
    assert (settings.subject_for("x"), settings.subject_wildcard) == ("edge.site-a.files", "edge.*.files")


_WORD = st.text(st.characters(codec="ascii", categories=["L", "N"], include_characters="_-"), min_size=1, max_size=9)
_TOKEN = _WORD | st.just("{site}") | st.just("{sha256}") | st.builds(lambda w: f"{w}-{{site}}", _WORD)


@given(_WORD, st.lists(_TOKEN, max_size=6), st.from_regex(r"[0-9a-f]{64}", fullmatch=True))
def test_every_subject_of_a_template_is_legal_and_captured(word: str, tokens: list[str], digest: str) -> None:
    settings = load(SITE="a-site", SYNC_SUBJECT=".".join([word, *tokens]))
    subject, wildcard = settings.subject_for(digest).split("."), settings.subject_wildcard.split(".")
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", token) for token in subject)
    assert len(subject) == len(wildcard)
    assert all(pattern in ("*", token) for token, pattern in zip(subject, wildcard, strict=True))
    assert settings.subject_is_per_digest == (digest in subject)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            "edge.{path}",
            "has a placeholder that does not exist ('edge.{path}'), use only {site} and {sha256}",
        ),
        ("edge.{sha{site}256}", "has a placeholder that does not exist"),
        ("edge.{{site}}", "has a placeholder that does not exist"),
        ("edge..{sha256}", "has an empty part, or more than 255 characters ('edge..{sha256}'), write words"),
        (".edge", "has an empty part"),
        ("edge.", "has an empty part"),
        ("e" * 256, "has an empty part, or more than 255 characters"),
        ("edge replay", "has a blank or a wildcard ('edge replay'), leave out blanks, * and >"),
        ("edge.*", "has a blank or a wildcard"),
        ("edge.>", "has a blank or a wildcard"),
        ("edge.a\u00a0b", "has a blank or a wildcard"),
        (
            "$JS.{sha256}",
            "has a part that begins with $, as the server's own subjects do ('$JS.{sha256}'), use",
        ),
        ("edge.f-{sha256}", "has {sha256} inside a word ('edge.f-{sha256}'), put it between dots"),
        ("{site}.{sha256}", "has no fixed part ('{site}.{sha256}'), put a word between the dots"),
    ],
)
def test_no_subject(text: str, what: str) -> None:
    assert complaint(SYNC_SUBJECT=text).startswith(f"SYNC_SUBJECT: {what}")


# --- servers and logins


def test_server_urls_come_with_their_ports() -> None:
    settings = load(NATS_URL="nats://a, tls://b.example.org:4223 ,nats://[::1]")
    assert settings.nats_urls == ("nats://a:4222", "tls://b.example.org:4223", "nats://[::1]:4222")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            "http://a",
            "does not begin with nats:// or tls:// and a host ('http://a'), write nats://host:4222 or",
        ),
        ("a:4222", "does not begin with nats:// or tls:// and a host ('a:4222')"),
        ("nats://", "does not begin with nats:// or tls:// and a host ('nats://')"),
        ("nats://a,", "server 2 of 2 is empty ('')"),
        (
            "nats://a,ws://b,nats://c",
            "server 2 of 3 does not begin with nats:// or tls:// and a host ('ws://b')",
        ),
        ("nats://:4222", "has no host ('nats://:4222')"),
        ("nats://a b", "has no legal host ('nats://a b')"),
        ("nats://a/b", "has no legal host ('nats://a/b')"),
        (
            "nats://a:65536",
            "has a port that is not a number from 0 to 65535 ('nats://a:65536'), write nats://host:4222",
        ),
        ("nats://a:0", "has port 0 ('nats://a:0')"),
        ("nats://a:", "has a port that is not a number from 0 to 65535 ('nats://a:')"),
        ("nats://::1", "has colons or brackets too many ('nats://::1')"),
        ("nats://[::x]:1", "has no IPv6 address in its brackets ('nats://[::x]:1')"),
    ],
)
def test_no_server_url(text: str, what: str) -> None:
    assert complaint(NATS_URL=text).startswith(f"NATS_URL: {what}")


def test_a_login_in_a_url_is_used_but_never_shown() -> None:
    given = {"NATS_URL": "nats://me:hunter2@a:1,tls://t0ken@b:2,nats://c:3,nats://me:t0ken:x@d:4"}
    loaded = Settings.load({}, given, {})
    assert loaded.settings.nats_urls == (
        "nats://me:hunter2@a:1",
        "tls://t0ken@b:2",
        "nats://c:3",
        "nats://me:t0ken:x@d:4",
    )
    masked = "nats://me:********@a:1,tls://********@b:2,nats://c:3,nats://me:********@d:4"
    assert shown({}, given, {})["NATS_URL"] == str(loaded.settings.nats_url) == masked
    for text in (repr(loaded), str(loaded.settings), loaded.settings.model_dump_json(), repr(gather({}, given, {}))):
        assert "hunter2" not in text
        assert "t0ken" not in text


@pytest.mark.parametrize(
    "text",
    [
        "nats://me:hunter2@", "nats://me:hunter2@a:x", "http://me:hunter2@a", "nats://me:hunter2@a,nats://b:x",
        "nats://me:x,hunter2@a", "nats://me:x@hunter2,y@a", "nats://me:hunter2@x@a", "nats://me:hunter2/@a",
        "nats://me:hunter2%40@a", "nats://:hunter2@a", "nats://me:hunter2,@a", "nats://me:\udcffhunter2@a",
    ],
)  # fmt: skip
def test_a_password_in_a_wrong_url_is_not_shown(text: str) -> None:
    line = complaint(NATS_URL=text)
    assert line.startswith("NATS_URL: ")
    assert "hunter2" not in line


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_no_password_of_any_shape_is_ever_shown(password: str) -> None:
    secret = f"hunter2{password}hunter2"
    given = {"NATS_URL": f"nats://me:{secret}@a:1"}
    loaded, line = outcome(**given)
    assert "hunter2" not in line
    if loaded:
        assert loaded.settings.nats_urls == (f"nats://me:{secret}@a:1",)
        assert "hunter2" not in repr(loaded) + repr(gather({}, given, {})) + shown({}, given, {})["NATS_URL"]


def test_a_login_that_a_url_cannot_carry() -> None:
    assert complaint(NATS_URL="nats://me:p/w@a") == (
        "NATS_URL: has half a login, or one with @ / ? # %, a blank or something unprintable (********@a), "
        "use NATS_USER and NATS_PASSWORD, or NATS_TOKEN"
    )


def test_secrets_are_masked() -> None:
    given = {"NATS_USER": "me", "NATS_PASSWORD": "hunter2"}
    loaded, texts = Settings.load({}, given, {}), shown({}, given, {})
    password = loaded.settings.nats_password
    assert password is not None
    assert password.get_secret_value() == "hunter2"
    assert (texts["NATS_USER"], texts["NATS_PASSWORD"]) == ("me", "********")
    assert shown({}, {"NATS_TOKEN": "t0ken"}, {})["NATS_TOKEN"] == "********"
    assert "hunter2" not in repr(loaded) + str(loaded) + loaded.settings.model_dump_json()
    assert "hunter2" not in repr(gather({}, given, {}))


@pytest.mark.parametrize("variable", ["NATS_PASSWORD", "NATS_TOKEN"])
def test_a_secret_with_a_line_break(variable: str) -> None:
    assert complaint(**{variable: "hunter2\n"}) == (
        f"{variable}: empty, or with something unprintable in it, such as a line break (********), "
        "give the bare text (printf, not echo)"
    )


def test_a_user_name_that_is_not_utf_8() -> None:
    assert complaint(NATS_USER="\udcff") == (
        "NATS_USER: empty, or with something unprintable in it, such as a line break ('\\udcff'), "
        "give the bare text (printf, not echo)"
    )


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"NATS_USER": "a"}, "NATS_PASSWORD: missing (not set), give both NATS_USER and NATS_PASSWORD, or neither"),
        ({"NATS_PASSWORD": "a"}, "NATS_USER: missing (not set), give both NATS_USER and NATS_PASSWORD, or neither"),
        (
            {"NATS_TLS_CERT": "a"},
            "NATS_TLS_KEY: missing (not set), give both NATS_TLS_CERT and NATS_TLS_KEY, or neither",
        ),
        (
            {"NATS_TLS_KEY": "a"},
            "NATS_TLS_CERT: missing (not set), give both NATS_TLS_CERT and NATS_TLS_KEY, or neither",
        ),
    ],
)
def test_half_a_pair(given: dict[str, str], line: str) -> None:
    assert complaint(**given) == line


@pytest.mark.parametrize(
    ("given", "second", "first"),
    [
        ({"NATS_CREDS": "a", "NATS_NKEY_SEED": "b"}, "NATS_NKEY_SEED", "NATS_CREDS"),
        ({"NATS_URL": "nats://t@a", "NATS_TOKEN": "b"}, "NATS_TOKEN", "NATS_URL"),
        ({"NATS_USER": "a", "NATS_PASSWORD": "b", "NATS_CREDS": "c"}, "NATS_CREDS", "NATS_USER"),
        ({"NATS_USER": "a", "NATS_PASSWORD": "b", "NATS_TOKEN": "c"}, "NATS_TOKEN", "NATS_USER"),
        ({"NATS_URL": "nats://u:p@a", "NATS_CREDS": "c", "NATS_TOKEN": "t"}, "NATS_CREDS", "NATS_URL"),
    ],
)
def test_two_logins(given: dict[str, str], second: str, first: str) -> None:
    assert complaint(**given) == f"{second}: a second login ({first} has one too), keep one of them"


def test_a_token_may_go_beside_a_key() -> None:
    settings = load(NATS_TOKEN="t", NATS_CREDS="/a.creds")
    assert settings.nats_creds == Path("/a.creds")


# --- words, addresses and what is not there yet


@pytest.mark.parametrize(
    ("variable", "what"),
    [
        ("SYNC_AFTER", "'delete' or 'archive'"),
        ("SYNC_MSG_ID", "'content', 'site' or 'path'"),
        ("SYNC_ORDER", "'oldest' or 'newest'"),
        ("SYNC_LOG_FORMAT", "'json' or 'console'"),
        ("SYNC_LOG_LEVEL", "'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_no_such_word(variable: str, what: str) -> None:
    assert complaint(**{variable: "Else"}) == f"{variable}: not {what} ('Else'), write one of these"


def test_words_in_capital_letters_are_taken() -> None:
    settings = load(SYNC_LOG_LEVEL="INFO", SYNC_LOG_FORMAT="Json")
    assert (settings.sync_log_level, settings.sync_log_format) == ("info", "json")


def test_a_bandwidth_limit() -> None:
    """Read by `timetable`, shown as it was written; what is wrong with it is told in one line."""
    assert load().sync_bwlimit == OFF
    settings = load(SYNC_BWLIMIT="08:00,512k 18:00,off")
    assert settings.sync_bwlimit.limit_at(datetime(2026, 11, 24, 9)) == 512 << 10
    assert settings.sync_bwlimit.limit_at(datetime(2026, 11, 24, 19)) is None
    assert shown({}, {"SYNC_BWLIMIT": "08:00,512k 18:00,off"}, {})["SYNC_BWLIMIT"] == "08:00,512k 18:00,off"
    assert complaint(SYNC_BWLIMIT="10M:1M") == (
        "SYNC_BWLIMIT: '10M:1M' is a limit for each direction ('10M:1M'), write one; only uploads are limited"
    )


def test_compression() -> None:
    assert load().sync_compress == "none"
    assert load(SYNC_COMPRESS="ZSTD").sync_compress == "zstd"
    assert complaint(SYNC_COMPRESS="gzip") == "SYNC_COMPRESS: not 'none' or 'zstd' ('gzip'), write one of these"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("0.0.0.0:8080", "0.0.0.0", 8080), ("[::1]:0", "::1", 0), ("localhost:65535", "localhost", 65535)],
)
def test_an_http_address(text: str, host: str, port: int) -> None:
    settings = load(SYNC_HTTP_ADDR=text)
    assert (settings.http_host, settings.http_port) == (host, port)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("localhost", "has no port ('localhost'), write host:port, such as 0.0.0.0:8080"),
        (":8080", "has no host (':8080'), write host:port, an IPv6 address in brackets"),
        (
            "::1:8080",
            "has colons or brackets too many ('::1:8080'), write host:port, an IPv6 address in brackets",
        ),
        (
            "[a]:1",
            "has no IPv6 address in its brackets ('[a]:1'), write host:port, an IPv6 address in brackets",
        ),
        (
            "a:65536",
            "has a port that is not a number from 0 to 65535 ('a:65536'), write host:port, an IPv6 address",
        ),
    ],
)
def test_no_http_address(text: str, what: str) -> None:
    assert complaint(SYNC_HTTP_ADDR=text).startswith(f"SYNC_HTTP_ADDR: {what}")


def test_further_names_of_the_http_side() -> None:
    """In small letters, as they are compared."""
    assert load().http_hosts == frozenset()
    names = load(SYNC_HTTP_HOSTS="Edge-1.Example.net, edge-1,10.0.0.1.").http_hosts
    assert names == {"edge-1.example.net", "edge-1", "10.0.0.1"}


@pytest.mark.parametrize(
    "text", ["*", "*.example.net", "a:8080", "http://a", "a/b", "a b", "a,,b", ",", "a..b", "[::1]"]
)
def test_no_name_of_the_http_side(text: str) -> None:
    assert "is no host name" in complaint(SYNC_HTTP_HOSTS=text)


def test_the_http_side_is_for_this_machine_where_nothing_is_set() -> None:
    settings = load()
    assert (settings.http_host, settings.http_port) == ("127.0.0.1", 8080)
    assert settings.sync_http_token_file is None


# --- files


def test_the_key_itself_in_place_of_its_file_is_refused_unseen() -> None:
    line = "{}: the key itself, not a file's name (********), put it into a file and name that"
    assert len(SEED) == 58
    assert complaint(NATS_NKEY_SEED=SEED) == line.format("NATS_NKEY_SEED")
    pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n"
    assert complaint(NATS_TLS_KEY=pem) == line.format("NATS_TLS_KEY")


def test_an_empty_path_is_none() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load({"SYNC_REPLAY_DIR": ""}, {}, {})
    assert str(caught.value) == "SYNC_REPLAY_DIR: not a path (''), name a file or directory"


def test_a_path_with_a_zero_byte_is_none() -> None:
    assert complaint(SYNC_REPLAY_DIR="a\0b").startswith("SYNC_REPLAY_DIR: not a path (")


def test_a_path_need_not_be_utf_8() -> None:
    assert bytes(load(SYNC_REPLAY_DIR="/a/\udcff").sync_replay_dir) == b"/a/\xff"


def test_making_settings_does_not_look_at_files() -> None:
    assert load(NATS_CREDS="/nowhere/a.creds").nats_creds == Path("/nowhere/a.creds")


def test_key_files_that_are_there_are_right(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    load(NATS_CREDS=str(tmp_path / "a"), NATS_TLS_CA=str(tmp_path / "a")).check_files()


def test_key_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(SettingsError) as caught:
        load(NATS_CREDS=str(missing), NATS_TLS_CA=str(tmp_path)).check_files()
    assert str(caught.value) == (
        f"NATS_CREDS: no such file or directory ('{missing}'), name a file that can be read; "
        f"NATS_TLS_CA: is a directory ('{tmp_path}'), name a file that can be read"
    )


def test_a_key_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a"
    file.touch(mode=stat.S_IWUSR)

    def refuse(*_: object) -> None:  # as the kernel would, were the tests not run by root
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SettingsError, match=r"^NATS_TLS_CA: permission denied \('"):
        load(NATS_TLS_CA=str(file)).check_files()


def test_the_ledger_must_not_be_delivered(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(SYNC_REPLAY_DIR=str(tmp_path), SYNC_LEDGER_DIR=f"{tmp_path}/a/../ledger").check_files()
    assert str(caught.value) == (
        f"SYNC_LEDGER_DIR: in the replay directory ('{tmp_path}/a/../ledger'), "
        "name one outside, or the ledger would be delivered"
    )
    with pytest.raises(SettingsError, match="SYNC_LEDGER_DIR"):
        load(SYNC_REPLAY_DIR=str(tmp_path), SYNC_LEDGER_DIR=str(tmp_path)).check_files()


@pytest.mark.parametrize("ledger", ["replay/.ledger", "replay-ledger", "replay/.a/b"])
def test_a_ledger_that_is_not_delivered_is_right(tmp_path: Path, ledger: str) -> None:
    load(SYNC_REPLAY_DIR=str(tmp_path / "replay"), SYNC_LEDGER_DIR=str(tmp_path / ledger)).check_files()


# --- what is shown


def test_what_is_shown_can_be_given_back() -> None:
    given: tuple[Texts, Texts, Texts] = (
        {"SYNC_STREAM_MAX_AGE": "36h", "SYNC_STREAM_MAX_BYTES": "1500M"},
        {"EDGE_MODE": "no", "SYNC_SETTLE_SECONDS": "1e-3", "SITE": "a", "NATS_URL": "nats://a,tls://[::1]"},
        {"SYNC_LEDGER_DIR": "/ledger", "SYNC_LOG_FORMAT": "json"},
    )
    texts = shown(*given)
    assert tuple(texts) == VARIABLES
    assert (texts["SYNC_STREAM_MAX_AGE"], texts["SYNC_STREAM_MAX_BYTES"]) == ("36h", "1500M")
    assert (texts["EDGE_MODE"], texts["SYNC_SETTLE_SECONDS"], texts["NATS_CREDS"]) == ("false", "0.001", "")
    assert load(**texts) == Settings.load(*given).settings


def test_every_setting_is_described() -> None:
    assert all(len(row.about) > 8 for row in gather({}, {}, {}).shown())


@pytest.mark.parametrize(
    "text", ["http:/u:hunter2@hub:8222", "ftp://u:hunter2@hub", "http://u:hunter2@hub:x", "u:hunter2@hub"]
)
def test_a_password_in_a_monitoring_address_is_never_shown(text: str) -> None:
    """Whatever else is wrong with the address."""
    assert "hunter2" not in complaint(NATS_MONITOR_URL=text)
    assert "********" in complaint(NATS_MONITOR_URL=text)


def test_what_is_more_than_one_line_is_no_name_of_a_key_file() -> None:
    """It is the key, or a part of it, and so it is not shown."""
    said = complaint(NATS_CREDS="NATS USER JWT\nhunter2\n")
    assert "hunter2" not in said
    assert "the key itself" in said


@pytest.mark.parametrize(
    ("name", "value"),
    [("SYNC_\x1b[31m", "1"), ("SYNC_\u202eQ", "1"), ("NATS_URL", "nats://u:p@\u202e[::1]:4222"), ("SITE", "\x1b[2J")],
)
def test_a_complaint_is_one_line_that_a_terminal_does_not_obey(name: str, value: str) -> None:
    """Neither the name nor the text of a setting brings a control character into it."""
    assert complaint(**{name: value}).isprintable()


def test_half_a_character_is_in_no_path() -> None:
    """Bytes that are no UTF-8 stand in the environment as halves of another kind, and those are a path."""
    assert complaint(SYNC_REPLAY_DIR="/a\ud800").startswith("SYNC_REPLAY_DIR: not a path")
    load(SYNC_REPLAY_DIR="/a\udcff")


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ("https://edge.example.com", "a URL with its scheme"),
        *((text, "not the beginning of a log's name") for text in ("a b", "a+b", "/a", "a/", "a//b", "ä", "e" * 175)),
    ],
)
def test_what_no_name_of_a_log_begins_with(origin: str, words: str) -> None:
    """C2SP signed-note takes neither blanks nor +; with the longest site and the log id the name has 255 bytes."""
    with pytest.raises(SettingsError, match=f"SYNC_CHECKPOINT_ORIGIN: {words}"):
        Settings.load({}, {"SYNC_CHECKPOINT_ORIGIN": origin}, {})


def test_a_checkpoint_key_needs_an_origin() -> None:
    with pytest.raises(SettingsError, match="SYNC_CHECKPOINT_ORIGIN: missing"):
        Settings.load({}, {"SYNC_CHECKPOINT_KEY": "/key"}, {})
    Settings.load({}, {"SYNC_CHECKPOINT_KEY": "/key", "SYNC_CHECKPOINT_ORIGIN": "e" * LONGEST_BASE}, {})
