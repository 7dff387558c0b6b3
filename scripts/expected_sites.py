"""Makes a rule file for Prometheus of the list of expected sites: the series `edge:site_listed`, one for each site.

    python -m scripts.expected_sites < k8s/components/expected-sites/expected_sites.txt

The list has `<site>` or `<site> leaf` a line. Empty lines, and what stands behind a `#`, count for nothing. A list
without a site gives a rule file without a group. The exit code is 2 where a line is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from syncdaemon.base.errors import SettingsError
from syncdaemon.base.units import Wrong
from syncdaemon.hub.site_list import listed


def sites_in(text: str) -> list[str]:
    """The sites of this list, in its order. Raises SettingsError, which names the line."""
    try:
        return [one.name for one in listed(text)]
    except Wrong as wrong:
        raise SettingsError(f"{wrong.what}; {wrong.remedy}") from None


def rule_file(sites: Sequence[str]) -> str:
    """The rule file, a line for each site."""
    lines = ["# Made from expected_sites.txt by `make rules`."]
    if not sites:
        return "\n".join([*lines, "groups: []", ""])
    lines += ["groups:", "  - name: syncdaemon-sites", "    interval: 1m", "    rules:"]
    lines += [f"      - {{record: 'edge:site_listed', expr: vector(1), labels: {{site: '{name}'}}}}" for name in sites]
    return "\n".join([*lines, ""])


def main() -> int:
    """The exit code."""
    try:
        print(rule_file(sites_in(sys.stdin.read())), end="")
    except SettingsError as error:
        print(f"expected_sites: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
