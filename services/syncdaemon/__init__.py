"""Store-and-forward of evidence files from the edge of a network into NATS JetStream, exactly once."""

__version__ = "0.1.0"
