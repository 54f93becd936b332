"""PatchTST, as transformers has it: its checkpoint, its exact graph, its stock graph."""

from vinocast.export.families.patchtst import source as source  # registers the family
