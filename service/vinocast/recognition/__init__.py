"""``vinocast infer-chain``: a folder of rasters, or grids in a file, to ranked labels in JSON lines."""
