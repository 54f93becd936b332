"""A thread in native code, which nothing can end, and the end of the process, which does not wait for it."""

from __future__ import annotations

import atexit
import os
import threading
import time

# Which one shape of an ordinary model takes to compile.
PATIENCE_SECONDS = 0.3


class NativeThread(threading.Thread):
    """A thread that may be in native code for any time, such as OpenVINO compiling what somebody has sent.

    It is no daemon: an interpreter that is taken down under it may crash. So whoever ends the process calls
    :func:`leave_native_threads` first.
    """


def leave_native_threads(code: int) -> None:
    """End the process here, with an exit code, where a :class:`NativeThread` goes on; return where none does.

    What is registered to be done at the end of the interpreter is done; what belongs to it is left to the kernel.
    """
    limit = time.monotonic() + PATIENCE_SECONDS
    for thread in threading.enumerate():
        if isinstance(thread, NativeThread):
            thread.join(max(0.0, limit - time.monotonic()))
            if thread.is_alive():
                atexit._run_exitfuncs()
                os._exit(code)
