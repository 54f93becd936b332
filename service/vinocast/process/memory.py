"""What the allocator of C keeps of memory that is free."""

from __future__ import annotations

import ctypes

# Of mallopt, in malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# A window of the bundled models takes a sixth of this as JSON: no usual request pays for fresh pages from the kernel.
LARGE_BYTES = 1 << 19
KEPT_BYTES = 1 << 21


def give_large_memory_back() -> None:
    """Have memory of LARGE_BYTES and more go back to the kernel as soon as it is free, in all of this process.

    Left alone glibc takes up to 32 MiB at a time from heaps, after the first such piece has been freed, and what comes
    to lie behind it there keeps it from going back: after a crowd of large bodies hundreds of MiB stay. Does nothing
    with another C library.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def trim() -> None:
    """Give back to the system what the heaps of all threads hold and do not use."""
    ctypes.CDLL(None).malloc_trim(0)
