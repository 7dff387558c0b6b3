"""How messages are asked for, shared out and acknowledged."""
