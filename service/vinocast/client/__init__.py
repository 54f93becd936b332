"""Clients of a service, for Python: over HTTP, sync and async, and over lines with a child process of one's own."""
