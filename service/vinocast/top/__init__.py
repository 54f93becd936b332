"""``vinocast top``: what a running service tells Prometheus, between two moments, in a terminal."""
