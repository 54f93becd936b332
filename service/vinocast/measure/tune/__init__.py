"""``vinocast tune``: each way of compiling a model, measured here, and the fastest that keeps its accuracy."""
