"""What the larger commands do, a module for each. Each is imported when its command runs, and not before."""
