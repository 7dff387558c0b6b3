"""The drain objective, measured: how long the workers take for a backlog of known size.

`scripts/measure_backlog_drain.sh` is its door. A run publishes messages as the daemon does, and lasts from before
the first of them until backlog and pending acknowledgements are 0 **as Prometheus sees them**. So it is measured the
way that an alert sees it, and a figure is late by a scrape and an evaluation of the rules at most.
"""
