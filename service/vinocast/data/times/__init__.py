"""Times of a series: moments, which keep the form they were written in, and the steps between them."""
