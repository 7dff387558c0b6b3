"""The table of settings and the values that the parts of the daemon take are held together."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Secret, SecretStr

from syncdaemon.base.errors import SettingsError
from syncdaemon.settings.given import Texts, gather
from syncdaemon.settings.table import SETTINGS, VARIABLES, Setting
from syncdaemon.settings.values import Settings

# Texts that are right for one setting or another, and some that are nearly right.
LIKELY = (
    *("", "0", "1", "5", "6", "-1", "0.25", "1e-3", "nan", "inf", "64Mi", "64MB", "30d", "9999999999d", "true", "No"),
    *("a-site", "A b", "swarm_jobs", "edge.{site}.{sha256}", "edge.*", "{site}", "/a/\udcff", "a\0b", "\udcff", "a\nb"),
    *("nats://a", "nats://u:p@a:1,tls://b", "nats://a:x", "http://h:8222", "h:1", "[::1]:0", "h", "user", "pass word"),
    *("delete", "Archive", "content", "PATH", "oldest", "zstd", "console", "warning", "off", "512k", "Mon-08:00,1M x"),
    *("-----BEGIN KEY", "SUAOTBNEUSAMPLESEEDFORTESTSONLYABCDEFGHIJKLMNOPQRSTUVWXYZ2"),
)
TEXTS = st.sampled_from(LIKELY) | st.text(st.characters(), max_size=40)
GIVEN = st.dictionaries(st.sampled_from(VARIABLES), TEXTS, max_size=6)


def plain(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, Secret | SecretStr) else value


def test_the_values_have_the_names_of_the_table() -> None:
    assert tuple(name.upper() for name in Settings.model_fields) == VARIABLES


@pytest.mark.parametrize("setting", SETTINGS, ids=VARIABLES)
def test_a_default_is_legal_and_the_value_that_counts(setting: Setting) -> None:
    loaded = Settings.load({}, {}, {})
    assert plain(getattr(loaded.settings, setting.field)) == setting.value(None)


def refusal(read: Callable[[Texts, Texts, Texts], object], *layers: Texts) -> str:
    """What is said against these texts; empty where they are right."""
    try:
        read(*layers)
    except SettingsError as error:
        return str(error)
    return ""


@given(GIVEN, GIVEN, GIVEN)
def test_the_values_accept_and_refuse_what_the_table_does(flags: Texts, environ: Texts, dotenv: Texts) -> None:
    """With the same line for a person; and every value that the table reads is one that the parts can take."""
    line = refusal(gather, flags, environ, dotenv)
    assert refusal(Settings.load, flags, environ, dotenv) == line
    assert "\n" not in line
    if not line:
        read = gather(flags, environ, dotenv)
        settings, sources = Settings.load(flags, environ, dotenv)
        assert {name: plain(getattr(settings, name.lower())) for name in VARIABLES} == read.values
        assert sources == read.sources


@pytest.mark.parametrize("setting", SETTINGS, ids=VARIABLES)
@given(text=TEXTS)
def test_a_value_is_shown_as_it_could_be_given(setting: Setting, text: str) -> None:
    """But for passwords."""
    flags = {setting.variable: text}
    if not refusal(gather, flags, {}, {}):
        shown = {row.variable: row.value for row in gather(flags, {}, {}).shown()}
        value = plain(getattr(Settings.load(flags, {}, {}).settings, setting.field))
        assert value == setting.kind.read(text)
        if not setting.kind.secret and "@" not in text:
            assert setting.kind.read(shown[setting.variable]) == value


def test_the_table_needs_the_standard_library_alone() -> None:
    """So that no command loads more than it needs."""
    code = (
        "import sys; from syncdaemon.settings import given, addresses\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names - {'syncdaemon'}))"
    )
    before = subprocess.run([sys.executable, "-c", code.replace("; from", "\n#")], capture_output=True, text=True)
    after = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert after.stdout == before.stdout != ""
