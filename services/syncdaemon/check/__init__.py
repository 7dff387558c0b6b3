"""The commands that prove: ledger, stream, and what this machine and its server permit."""
