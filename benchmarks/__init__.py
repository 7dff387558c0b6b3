"""The benchmarks: `python -m benchmarks` prints how fast, how small and how quiet syncdaemon is, as Markdown.

Every figure is measured from outside or by the process itself that it speaks of, against a fresh nats-server and on
a real disk. `script`, `ceiling` and `ours` are programs of their own, one run each; `drain`, `backlog`, `latency`,
`idle` and `ledger` are the sections of the report, which start them.
"""
