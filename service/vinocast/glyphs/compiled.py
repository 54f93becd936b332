"""The batch shapes that both nets are compiled for.

Measured with f32 on two cores (Zen 4), milliseconds a grid of the light Phase 2 by grids in an inference:
1 0.85, 4 0.65, 8 0.59, 16 0.56, 32 0.56, 64 0.53; one dynamic shape takes up to a quarter more. Microseconds a cell of
Phase 1: 16 5.5, 64 3.8, 256 3.0, 1024 4.0.
"""

PHASE1_BATCHES = (16, 64, 256)
PHASE2_BATCHES = (1, 4, 16)
