"""Families of models that can be converted, each in a folder of its own."""
