"""PatchTST, as transformers has it: its checkpoint, its exact graph, its stock graph."""
