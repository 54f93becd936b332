"""How the general forecaster is trained: synthetic series, its architecture, its runs."""
