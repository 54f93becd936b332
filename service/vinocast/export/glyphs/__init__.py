"""The glyph nets in PyTorch, and their way to OpenVINO."""
