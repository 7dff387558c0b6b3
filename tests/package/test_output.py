"""Text reaches people by one door, which lets nothing through that a terminal would obey."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "services" / "syncdaemon"
DOORS = {
    "cli/say.py": "the door itself",
    "cli/tables.py": "each cell is made printable",
    "cli/work/log.py": "each value is, or JSON escapes it",
    "cli/streams.py": "the system's own words",
}
OURS = {"typer.echo(ctx.get_help())", "typer.echo(f'syncdaemon {__version__}')"}  # text that is all our own


def test_nothing_else_prints() -> None:
    """Not `print`, not `typer.echo`, not a console of rich; not `sys.stdout` either."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if name not in DOORS and isinstance(node, ast.Call) and prints(node) and ast.unparse(node) not in OURS:
                found[f"{name}:{node.lineno}"] = ast.unparse(node)
    assert found == {}


def prints(call: ast.Call) -> bool:
    """Whether this call writes to standard output or error."""
    name = ast.unparse(call.func)
    return name in ("print", "typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write") or (
        name.endswith(".print") and "console" in name.lower()
    )
