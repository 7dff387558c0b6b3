"""The files that the receiver writes, and those that it puts aside."""
