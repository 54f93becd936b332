"""What a service keeps for the one after it: its streams, in a folder, as they were every so often and at its end.

A snapshot is a long job of the lane, which takes some streams at a time, with forecasts between them; a thread that
lives as long as the snapshot hashes and writes what it is given. So nothing waits for the disk. Each stream is whole in
it, one perhaps as it was a moment before another.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from vinocast.data.sealed import pack, read, write
from vinocast.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

# What the file begins with: another number wherever an older service would not understand it.
HEAD = b"vinocast state 1\n"
# How long a part may take of the time of those who wait for a forecast; and how long the end of a service may wait for
# the disk, as docker kills after ten seconds, of which some are gone by then, and its successor for that end.
PART_SECONDS, LAST_SECONDS, HANDOVER_SECONDS = 0.0005, 4.0, 6.0
POLL_SECONDS = 0.05
log = logging.getLogger(__name__)


class Keeper(Protocol):
    """What has something to keep."""

    def dump(self) -> Iterator[dict[str, Any]]:
        """Yield records, each by itself as it is when it is asked for; others may change between them."""

    def load(self, records: Iterable[dict[str, Any]]) -> int:
        """Have what :meth:`dump` gave and nothing else; return how many streams there are now.

        Raises KeyError, TypeError or ValueError for what it cannot have given.
        """


class State:
    """The folder of a service's state, which no other service may have meanwhile.

    Args:
        folder: made where it is not there.
        seconds: between two snapshots.
        keepers: by the name that their records bear.

    Raises:
        SetupError: another service has the folder.
    """

    def __init__(self, folder: Path, seconds: float, keepers: Mapping[str, Keeper]) -> None:
        self._path = folder / "streams"
        self._seconds = seconds
        self._keepers = keepers
        self._snapshot: Snapshot | None = None
        self._failing = False
        self._lock = self._take(folder)
        self._restore()
        self._due = time.monotonic() + seconds

    def _take(self, folder: Path) -> int | None:
        """Return the descriptor of a lock on the folder; None where nothing can be written there."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            reason = "it is a file, and no folder" if isinstance(error, FileExistsError) else error.strerror
            log.error("--state %s: no streams will be kept: %s", folder, reason)
            return None
        limit = time.monotonic() + HANDOVER_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > limit:
                    os.close(lock)
                    raise SetupError(f"--state {folder}: another service keeps its streams there") from None
                time.sleep(POLL_SECONDS)
            except OSError as error:
                os.close(lock)
                log.error("--state %s: no streams will be kept: it cannot be locked: %s", folder, error.strerror)
                return None
            else:
                return lock

    def _restore(self) -> None:
        try:
            records = read(self._path, HEAD)
            saved = datetime.fromtimestamp(next(records)["saved"], UTC).isoformat(timespec="seconds")
            # One at a time: all together they are as much again as what is made of them.
            count = sum(self._keepers[of].load(group) for of, group in groupby(records, itemgetter("of")))
        except (FileNotFoundError, NotADirectoryError):
            return
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the service starts without
            for keeper in self._keepers.values():
                keeper.load(())
            self._refuse(error)
        else:
            log.info("%s: %d streams are as they were at %s", self._path, count, saved)

    def _refuse(self, error: Exception) -> None:
        """Put a file aside that is not one of ours or cannot be read, which the next would replace, and say why."""
        aside = self._path.with_name("streams.refused")
        try:
            self._path.replace(aside)
        except OSError:
            aside = self._path
        reason: object = error if isinstance(error, ValueError) else repr(error)
        if isinstance(error, OSError):
            reason = f"the user {os.geteuid()} cannot read them: {error.strerror}"
        log.error("%s: the streams of before are refused, and none are kept of them: %s", aside, reason)

    def due(self, now: float) -> Snapshot | None:
        """Return a job for the lane if it is time for the next snapshot, at a moment of time.monotonic."""
        if now < self._due or self._lock is None:
            return None
        self._due = now + self._seconds
        if self._snapshot is not None and self._snapshot.writing:
            return None  # the disk is slow
        self._snapshot = Snapshot(self._path, self._keepers, self._written)
        return self._snapshot

    def _written(self, size: int, seconds: float, error: OSError | None) -> None:
        """Log what has become of a snapshot; what fails again and again is said once."""
        if isinstance(error, _GivenUpError):
            return
        if error is None:
            log.log(
                logging.INFO if self._failing else logging.DEBUG, "%s: %d bytes in %.3f s", self._path, size, seconds
            )
        elif not self._failing:
            log.error("%s: the streams cannot be kept: %s", self._path, error.strerror)
        self._failing = error is not None

    def close(self) -> None:
        """Write the last snapshot, and let others have the folder."""
        if self._lock is None:
            return
        if self._snapshot is not None:
            self._snapshot.give_up()
        if self._snapshot is None or not self._snapshot.writing:
            self._snapshot = Snapshot(self._path, self._keepers, self._written)
            while not self._snapshot.run_part():
                pass
            self._snapshot.wait()
        if self._snapshot.writing:  # and has the lock until the process ends
            log.error("%s: the disk takes more than %g s: the streams are kept as before", self._path, LAST_SECONDS)
        else:
            os.close(self._lock)
        self._lock = None


class _GivenUpError(OSError):
    """A snapshot is no longer wanted."""


class Snapshot:
    """A long job of the lane: each part gives some streams to the thread that writes."""

    rows = 0

    def __init__(
        self, path: Path, keepers: Mapping[str, Keeper], written: Callable[[int, float, OSError | None], None]
    ) -> None:
        self._path = path
        self._records = _records(keepers)
        self._given: SimpleQueue[bytes | OSError | None] = SimpleQueue()
        self._written = written
        self._thread = threading.Thread(target=self._write, name="snapshot", daemon=True)
        self._thread.start()

    @property
    def ticket(self) -> object:
        """Nobody waits for it but itself."""
        return self

    @property
    def model(self) -> object:
        """It takes turns with those of the models."""
        return type(self)

    @property
    def writing(self) -> bool:
        """Whether the thread is not done."""
        return self._thread.is_alive()

    def runnable(self) -> bool:
        """Return True: it needs no model."""
        return True

    def run_part(self) -> bool:
        """Give the thread as many records as there is time for; return whether they were the last."""
        until = time.monotonic() + PART_SECONDS
        try:
            for record in self._records:
                self._given.put(pack(record))
                if time.monotonic() > until and self.writing:
                    return False
                if not self.writing:
                    break
        except Exception:
            log.exception("the streams cannot be kept")
            self._given.put(OSError(0, "see above"))
        self._given.put(None)
        return True

    def give_up(self) -> None:
        """Have the thread leave the file as it was before."""
        self._given.put(_GivenUpError())
        self.wait()

    def wait(self) -> None:
        """Wait for the thread, for LAST_SECONDS at most."""
        self._thread.join(LAST_SECONDS)

    def _write(self) -> None:
        began = time.monotonic()
        try:
            size, failed = write(self._path, HEAD, self._taken()), None
        except OSError as error:
            size, failed = 0, error
        self._written(size, time.monotonic() - began, failed)

    def _taken(self) -> Iterator[bytes]:
        while (record := self._given.get()) is not None:
            if isinstance(record, OSError):
                raise record
            yield record


def _records(keepers: Mapping[str, Keeper]) -> Iterator[dict[str, Any]]:
    yield {"saved": time.time()}
    for name, keeper in keepers.items():
        for record in keeper.dump():
            yield {**record, "of": name}
