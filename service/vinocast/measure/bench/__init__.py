"""``vinocast bench``: the service as its clients see it, the model alone, and the least the CPU could take.

The scripts in ``benchmarks/`` are not part of it: they are for maintainers, and use what is here.
"""
