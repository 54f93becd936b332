"""How the bundled glyph chain was trained: from a folder of fonts to two nets."""
