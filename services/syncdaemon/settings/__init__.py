"""The settings: `table` lists them, `given` checks what a user gave, `values` holds them for the parts of the daemon.

`table` and `given` need the standard library alone, so that a command which only looks is quick to start.
"""
