"""Store-and-forward of evidence files from the edge of a network into NATS JetStream, exactly once.

The folders of this package, in the order of a file's way:

- `spool`: the replay directory. It finds the files that producers drop, and reads the complete ones.
- `deliver`: the order of the steps. A file is published, recorded in the ledger, and only then retired.
- `publish`: makes a message of a file, and an outcome of each answer. A large file becomes an object first.
- `link`: the connection to the server, and the pace at which it takes bytes.
- `stream`: what JetStream stores: how the stream is made, what it holds, and what its answers mean.
- `ledger`: the file of rows that says what became of each file. A row is on disk before the next step begins.
- `spool` again: it moves the delivered file out of the way, and deletes it after a time.

Around that way:

- `daemon` puts the steps together, starts and stops them, and shows how they are; `web` serves what it shows.
- `receive` is the other end: it takes the messages from the stream and writes the files again.
- `check` proves: it compares ledger, stream and replay directory, and finds what is wrong with a site.
- `settings` reads and checks the settings.
- `dev` runs everything on one machine, to try it.
- `cli` is the command line.
- `base` has what all of them share: values, errors, units, and help with disks and tasks.
"""

__version__ = "0.1.0"
