"""From rasters to labels: cells, grids of primitive ids, ranked labels."""
