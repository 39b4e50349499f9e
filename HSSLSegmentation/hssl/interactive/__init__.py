"""Learning from a few painted slices, and the process that serves it."""
