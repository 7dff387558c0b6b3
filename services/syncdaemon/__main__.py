"""`python -m syncdaemon`, and the program `syncdaemon`."""

# `signal` imports more than its core does, and so comes too late for a Ctrl-C in these milliseconds.
import _signal  # type: ignore[import-not-found]
import os


def main() -> None:
    """Runs the command. Ctrl-C ends the process also while it is still being imported, and shows no traceback."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _end)
    from syncdaemon.cli import main as program

    program()


def _end(number: int, _frame: object) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    main()
