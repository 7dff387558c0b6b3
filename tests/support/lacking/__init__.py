"""Processes that lack what Linux has and another system has not; `sitecustomize` here takes it away."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.support.lacking.sitecustomize import TAKEN

FOLDER = Path(__file__).parent
KEYS = tuple(TAKEN)
"""What can be taken away by itself."""


def lacking(what: str) -> dict[str, str]:
    """The variables of a Python process that lacks this: some of `KEYS` with commas between them, or `macos`.

    On a real macOS nothing has to be taken away.
    """
    if sys.platform == "darwin":
        return {}
    return {"LACKING": what, "PYTHONPATH": os.pathsep.join(filter(None, (str(FOLDER), os.environ.get("PYTHONPATH"))))}
