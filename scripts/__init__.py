"""Doors for those who follow the older guides; each leads into the package."""
