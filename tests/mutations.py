"""`python -m tests.mutations [EACH]`: changes a ledger in every way that we know, and prints what finds each.

The ledger is one of three days. `verify --stream` is its comparison, with the messages of the whole ledger in memory.
The last column but one is for `verify --hub`: `-` until a caller of `table` hands in how to ask it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.mutation_table import as_text, table

_EACH = 40


def main() -> int:
    """1 where something was not found that should be."""
    each = int(sys.argv[1]) if len(sys.argv) > 1 else _EACH
    with TemporaryDirectory() as folder:
        lines = list(table(Path(folder) / "ledger", each))
    print(as_text(lines))
    overlooked = [f"{line.mutation.kind}: {line.overlooked}" for line in lines if line.overlooked]
    print("\nNot found, and should be: " + (", ".join(overlooked) or "nothing"))
    return bool(overlooked)


if __name__ == "__main__":
    sys.exit(main())
