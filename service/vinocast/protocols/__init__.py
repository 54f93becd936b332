"""Protocols: bytes to what is asked, typed, and back. They know neither sockets nor models."""
