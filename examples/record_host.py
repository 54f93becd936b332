"""Record this host's own counters once a second, as a series to forecast.

    python examples/record_host.py --seconds 3600 --output examples/host.csv

Seven channels from /proc, one row per second: share of CPU time spent in user and in system code (percent), runnable
processes, context switches and interrupts and page faults (per second), memory in use (MiB). ``host.csv`` beside this
script is one hour of a two-core server. The last 512 rows as a request body:

    python examples/record_host.py --window examples/host.csv > examples/window.json
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from pathlib import Path

CONTEXT = 512
CHANNELS = (
    "cpu_user_percent",
    "cpu_system_percent",
    "runnable",
    "context_switches_per_s",
    "interrupts_per_s",
    "page_faults_per_s",
    "memory_used_mib",
)


def read_counters() -> dict[str, float]:
    """Return the kernel's running totals, and the levels that are no totals."""
    stat = {line.split()[0]: line.split()[1:] for line in Path("/proc/stat").read_text().splitlines()}
    memory = {line.split(":")[0]: int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()}
    faults = next(line for line in Path("/proc/vmstat").read_text().splitlines() if line.startswith("pgfault "))
    cpu = [int(ticks) for ticks in stat["cpu"][:8]]
    return {
        "user": cpu[0] + cpu[1],
        "system": cpu[2] + cpu[5] + cpu[6],
        "total": sum(cpu),
        "switches": int(stat["ctxt"][0]),
        "interrupts": int(stat["intr"][0]),
        "faults": int(faults.split()[1]),
        "runnable": int(stat["procs_running"][0]),
        "memory_kib": memory["MemTotal"] - memory["MemAvailable"],
    }


def row(before: dict[str, float], after: dict[str, float], seconds: float) -> list[float]:
    """Return one row of CHANNELS from two readings so many seconds apart."""
    ticks = max(1, after["total"] - before["total"])
    values = (
        100 * (after["user"] - before["user"]) / ticks,
        100 * (after["system"] - before["system"]) / ticks,
        after["runnable"],
        (after["switches"] - before["switches"]) / seconds,
        (after["interrupts"] - before["interrupts"]) / seconds,
        (after["faults"] - before["faults"]) / seconds,
        after["memory_kib"] / 1024,
    )
    return [round(value, 2) for value in values]


def record(output: Path, seconds: int) -> None:
    """Write one row per second to a CSV file, as they come."""
    with output.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("second", *CHANNELS))
        before, last = read_counters(), time.monotonic()
        due = last
        for second in range(seconds):
            due += 1
            time.sleep(max(0.0, due - time.monotonic()))
            after, now = read_counters(), time.monotonic()
            writer.writerow((second, *row(before, after, now - last)))
            file.flush()
            before, last = after, now


def window(recording: Path) -> str:
    """Return the last CONTEXT rows of a recording as the body of POST /forecast."""
    with recording.open(newline="") as file:
        rows = [[float(line[name]) for name in CHANNELS] for line in csv.DictReader(file)]
    if len(rows) < CONTEXT:
        sys.exit(f"{recording}: expected at least {CONTEXT} rows, got {len(rows)}")
    return json.dumps({"request_id": "host", "past_values": rows[-CONTEXT:]})


def main() -> None:
    """Record, or print a window of what was recorded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3600, help="length of the recording (default: 3600)")
    parser.add_argument("--output", type=Path, default=Path("host.csv"), help="file to write (default: host.csv)")
    parser.add_argument("--window", type=Path, metavar="CSV", help="print a request body from a recording instead")
    arguments = parser.parse_args()
    if arguments.window:
        print(window(arguments.window))
    else:
        record(arguments.output, arguments.seconds)


if __name__ == "__main__":
    main()
