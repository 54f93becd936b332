"""Families of forecasters that can be converted, each a folder here that registers itself (see ``registry``)."""
