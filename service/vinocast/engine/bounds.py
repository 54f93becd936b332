"""What the folder of a model may hold: bounds that are looked at before anything is read, computed or kept.

A folder is what somebody else has made, and may be mounted from where others write. Each bound is many times what any
model of this field has, and small enough for a service that meets the worst to go on, or to say so at once.

====================== =========================================================================================
``MANIFEST_BYTES``     one of 8,192 channels with names of 20 letters; the bundled ones have 2.5 kB. Every fault in it
                       becomes an object of Python, which is what the bound is for
``GRAPH_BYTES``        of an ``.xml``: 100 times the bundled forecaster's, and 28,000 operations; to read it takes 0.3 s
``GRAPH_BODIES``       of loops and branches in a graph: the time to compile doubles with each that lies in another (40
                       never end), and some thousand overflow the stack; the bundled graphs have none
``TENSOR_BYTES``       of what one operation of a graph makes, compiled for its largest batch: a few bytes of a graph
                       can ask for any amount. The attention of 862 channels that see each other takes 100 MB
``GOLDEN_BYTES``       of the golden vectors, packed, and of each of them unpacked: the bundled ones take 100 kB, and
                       each series is computed once at a start, for each shape
``TABLE_BYTES``        of the labels and the characters of a glyph model: 1,000 bytes for each of 16,000
``FILE_BYTES``         of any other, weights above all, which are held in memory: 500 million of f32
``FOLDER_BYTES``       of all files together, each of which is hashed at a start
``MOST_FILES``         that a manifest names
``MOST_CHANNELS``      of a window; the widest data sets of this field have about 900
``MOST_STEPS``         of a context and of a horizon, 128 times the bundled model's context
``MOST_WINDOW_VALUES`` of a window and of a forecast: 16 MiB in f32, eight times that as JSON, which is the longest
                       request that a service then takes in
``MOST_LABELS``        of a glyph model: twice the characters of Unicode
``TUNED_BYTES``        of ``tuned.json``, which takes 170 bytes for each model
====================== =========================================================================================
"""

from __future__ import annotations

MANIFEST_BYTES = 1 << 18
GRAPH_BYTES = 1 << 23
GRAPH_BODIES = 16
TENSOR_BYTES = 1 << 29
GOLDEN_BYTES = 1 << 26
TABLE_BYTES = 1 << 24
FILE_BYTES = 1 << 31
FOLDER_BYTES = 1 << 33
MOST_FILES = 256
MOST_CHANNELS = 8192
MOST_STEPS = 1 << 16
MOST_WINDOW_VALUES = 1 << 22
MOST_LABELS = 1 << 18
TUNED_BYTES = 1 << 20

_BY_SUFFIX = {".xml": GRAPH_BYTES, ".npz": GOLDEN_BYTES, ".json": TABLE_BYTES, ".csv": TABLE_BYTES}


def most_bytes(name: str) -> int:
    """Return the most bytes that a file of a model may have, by its name."""
    return next((most for suffix, most in _BY_SUFFIX.items() if name.endswith(suffix)), FILE_BYTES)
