"""Takes the rules out of rendered manifests and gives them to promtool: what is deployed is what is tested.

    kubectl kustomize k8s/profiles/staging | python -m scripts.check_rules tests/deploy/rules/*.yaml

The manifests come on standard input. Each file named is a unit test for `promtool test rules`, which finds the rules
beside itself as `rules.yaml`. The exit code is 0 where all is well, 1 where promtool found something, 2 where there are
no rules.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from scripts.prometheus import find_binary
from syncdaemon.base.errors import SettingsError


def rules_in(manifests: str) -> str:
    """The groups of every PrometheusRule in a stream of manifests, as one rule file.

    Raises SettingsError where there are none: a schema is content with any spec, and Prometheus with an empty one.
    """
    documents = [it for it in yaml.safe_load_all(manifests) if it and it.get("kind") == "PrometheusRule"]
    groups = [group for document in documents for group in document["spec"]["groups"]]
    if not groups:
        raise SettingsError("no PrometheusRule with rules in what was rendered")
    return yaml.safe_dump({"groups": groups}, sort_keys=False, allow_unicode=True)


def check(rules: str, tests: Sequence[Path]) -> bool:
    """Whether promtool is content with the rules, and all these tests pass. It prints what it found."""
    promtool = str(find_binary("promtool"))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rules.yaml").write_text(rules)
        copies = [shutil.copy(test, folder) for test in tests]
        commands = [[promtool, "check", "rules", "rules.yaml"]]
        if copies:
            commands.append([promtool, "test", "rules", *copies])
        return not any(subprocess.run(command, cwd=folder).returncode for command in commands)


def main() -> int:
    """The exit code."""
    try:
        return 0 if check(rules_in(sys.stdin.read()), [Path(name) for name in sys.argv[1:]]) else 1
    except (SettingsError, yaml.YAMLError) as error:
        print(f"check_rules: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
