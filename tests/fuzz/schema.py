"""schemathesis over the service's own schema: no fault of ours, and every reply as the schema says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support import HttpService

# What is asked of every reply; that it is JSON with a known status and of the schema's form among them.
CHECKS = ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"]


def run(examples: int, seed: int) -> int:
    """Send so many requests to each operation, print what schemathesis says, and return its exit code."""
    with HttpService() as service:
        command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{service.url}/openapi.json"]
        options = ["--max-examples", str(examples), "--seed", str(seed), "--checks", ",".join(CHECKS)]
        # What is pushed does not end.
        done = subprocess.run([*command, *options, "--exclude-path", "/events"], check=False)
        faults = [line for line in service.log.splitlines() if "Traceback" in line or "internal error" in line]
    print("\n".join(faults))
    return done.returncode or bool(faults)
