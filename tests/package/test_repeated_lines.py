"""What repeats is logged once a minute: every line of the log passes the one pause, or happens once by its nature."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "services" / "syncdaemon"
LEVELS = {"info", "warning", "error", "exception"}  # whoever asks for `debug` wants all

ONCE = {
    "at the start": {
        "http_token_open_to_others",
        "ledger_is_younger_than_stream",
        "local_door_is_closed_to_the_group",
        "no_local_door",
        "receiving",
        "replay_dir_is_shared",
        "several_streams",
        "site_by_hostname",
        "sites_not_bound",
        "standing_by",
        "stream_is_large",
        "stream_size",
        "weaker_promise",
    },
    "at the end": {"putting_back"},
    "when it is made": {"bucket_created", "consumer_created", "stream_created"},
    "for each signal of a person": {"not_reloaded", "nothing_to_reload", "reloaded", "stopping"},
    "for each order of the operator": {"not_requeued", "requeued", "steered"},
    "for each connection": {"doubt_resolved", "hold_checked", "link_down", "link_up", "object_cut"},
    "for each change of the timetable": {"bandwidth_limit"},
    "for each suspicion, which the check of the hold ends": {
        "bucket_changed",
        "held_file_is_not_in_the_stream",
        "sequence_went_back",
    },
    "when the stream is set otherwise": {"stream_changed"},
    "when the bucket becomes another one": {"shared_bucket"},
    "for each connection after which a large file lacks something else": {"objects_lacking"},
    "for each file, which has another id from then on": {"sent_afresh"},
    "when a pause that was logged is over": {"pulling_again", "spool_resumed"},
    "for an older ledger, once a start": {"tree_behind", "tree_complete"},
    "for each reason that is not the one before, after a pause": {"tree_paused"},
    "for each file, which is moved by it": {"changed_while_held", "quarantined"},
    "for each message, which is acknowledged or ended by it": {"kept_beside", "message_rejected"},
    "for each folder of a dead process": {"leftovers_removed"},
    "once a day": {"abandoned_upload_removed", "bucket_not_tidied"},
    "for each chunk, which is not tried again": {"chunk_not_deleted"},
    "behind the pause of its only caller": {"messages_left_out"},
}


def lines(source: str) -> Iterator[tuple[str, bool]]:
    """The event of each line of the log in this module, and whether it stands below a question to the pause."""
    parents: dict[ast.AST, ast.AST] = {}
    for node in ast.walk(tree := ast.parse(source)):
        parents.update(dict.fromkeys(ast.iter_child_nodes(node), node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _logs(node.func):
            event = node.args[0]
            yield str(event.value) if isinstance(event, ast.Constant) else ast.unparse(event), _asks(node, parents)


def _logs(function: ast.AST) -> bool:
    used = [node for node in ast.walk(function) if isinstance(node, ast.Attribute) and node.attr in LEVELS]
    return any(isinstance(node.value, ast.Name) and node.value.id == "log" for node in used)


def _asks(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    above = parents.get(node)
    while above is not None and not isinstance(above, ast.FunctionDef | ast.AsyncFunctionDef):
        if isinstance(above, ast.If) and any(_is_due(part) for part in ast.walk(above.test)):
            return True
        above = parents.get(above)
    return False


def _is_due(part: ast.AST) -> bool:
    return isinstance(part, ast.Call) and ast.unparse(part.func).rpartition(".")[2] in ("due", "_due")


def test_every_line_passes_the_pause_or_happens_once() -> None:
    """A new line without the pause needs a place in the table, and so a thought of how often it can come."""
    found = [line for path in sorted(PACKAGE.rglob("*.py")) for line in lines(path.read_text(encoding="utf-8"))]
    assert {event for event, paused in found if not paused} == set().union(*ONCE.values())


def test_a_line_without_the_pause_is_seen() -> None:
    assert list(lines("def f():\n  while True:\n    log.error('away')")) == [("away", False)]
    assert list(lines("def f():\n  (log.error if x else log.info)('odd', a=1)")) == [("odd", False)]
    assert list(lines("def f():\n  if said.due(now, 'a') and x:\n    log.info('a')")) == [("a", True)]
