"""The daemon over a JetStream in memory, where time, faults and deaths are the test's to choose."""
