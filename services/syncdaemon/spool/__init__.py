"""The replay directory. `spool` puts the daemon's parts of it together; the other modules stand by themselves.

So a command that looks into the quarantine, or puts a file, does not load what the daemon needs.
"""
