"""JetStream: the stream, what it holds, and what its answers mean."""
