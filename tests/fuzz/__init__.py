"""Input of strangers, made up by the hundred thousand: `python -m tests.fuzz`, or `make fuzz`."""
