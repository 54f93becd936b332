"""Good, bad, slow, huge and leaving clients of ``vinocast serve`` at once, while its machine fails too.

    python -m benchmarks.chaos --seconds 60

``clients``: what each kind of client does; ``machine``: what is done to the service's process, and what it takes;
``__main__``: the run, the table, and the exit code.
"""
