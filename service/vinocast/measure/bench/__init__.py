"""``vinocast bench``: the service as its clients see it, the model alone, and the least the CPU could take."""
