"""Commands that are run to their end."""

from __future__ import annotations

import subprocess


class Done:
    """A command that has ended."""

    def __init__(self, command: list[str], code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err
        self._command = command

    def check(self) -> Done:
        """Itself, if it went well."""
        assert self.code == 0, f"{' '.join(self._command)}: exit {self.code}\n{self.out[-4000:]}{self.err[-4000:]}"
        return self


def run(*command: str) -> None:
    """Runs it; it has to go well."""
    attempt(*command).check()


def attempt(*command: str, environment: dict[str, str] | None = None) -> Done:
    """Runs it, however it goes."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return Done(list(command), done.returncode, done.stdout, done.stderr)
