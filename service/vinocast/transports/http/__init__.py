"""HTTP: one event loop that reads, infers and writes in turn."""
