"""What the service is made of: its list, the licences of it, and the advisories against it, by the targets of make.

Advisories come from a service that is asked over the network; here a server of this module's own answers in its place.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from packaging.utils import canonicalize_name
from packaging.version import Version
from support import ROOT
from vinocast import __version__

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

LOCK_FILES = ROOT / "requirements"
LICENCES = LOCK_FILES / "licences"
PIN = re.compile(r"^([\w.-]+)==([^ ;\\\n]+)((?:.*\\\n)*.*)$", re.MULTILINE)
# Asked of an address that is looked up in the environment, past any proxy.
BESIDE = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}

Pin = tuple[str, str]


def pins(*files: str) -> dict[Pin, set[str]]:
    """Name and version of what lock files pin, each with its hashes."""
    found = [each for file in files for each in PIN.findall((LOCK_FILES / file).read_text())]
    assert found
    return {
        (canonicalize_name(name), str(Version(version))): set(re.findall(r"--hash=sha256:(\w+)", rest))
        for name, version, rest in found
    }


def make(target: str, *variables: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a target with the environment of these tests as it is, be it older than pyproject.toml."""
    installed = [option for stamp in (".runtime", ".dev") for option in ("--old-file", f"{sys.prefix}/{stamp}")]
    command = ["make", target, f"VENV={sys.prefix}", *installed, *variables]
    # Not as a part of the make that has started the tests, with its options and in its words.
    own = {name: value for name, value in os.environ.items() if name not in {"MAKELEVEL", "MAKEFLAGS", "MFLAGS"}}
    return subprocess.run(
        command, cwd=ROOT, env=own | environment, capture_output=True, text=True, timeout=600, check=False
    )


def test_sbom_lists_each_pin_of_the_runtime_with_its_hashes_and_is_the_same_twice(tmp_path: Path) -> None:
    written = [tmp_path / folder / f"vinocast-{__version__}.cdx.json" for folder in ("once", "twice")]
    for path in written:
        done = make("sbom", f"DIST={path.parent}")
        assert done.returncode == 0, done.stderr
        assert "arning" not in done.stderr
    once, twice = (path.read_bytes() for path in written)
    assert once == twice
    bom = orjson.loads(once)
    assert bom["bomFormat"] == "CycloneDX"
    subject = bom["metadata"]["component"]
    assert (subject["name"], subject["version"]) == ("vinocast", __version__)
    assert subject["licenses"][0]["license"]["id"] == "Apache-2.0"
    listed = {
        (part["name"], part["version"]): {
            each["content"] for source in part["externalReferences"] for each in source["hashes"]
        }
        for part in bom["components"]
    }
    assert listed == pins("runtime.txt")
    assert all(listed.values())
    assert {part["purl"] for part in bom["components"]} == {f"pkg:pypi/{name}@{version}" for name, version in listed}


def test_licences_of_all_that_is_pinned_are_allowed() -> None:
    done = make("licences")
    assert done.returncode == 0, done.stderr
    head, _, rest = done.stdout.partition("the extras and the tests:\n")
    _, _, runtime = head.partition("the runtime:\n")
    extras, _, read = rest.partition("read by hand: ")

    def names(table: str) -> set[str]:
        return {canonicalize_name(line.split()[0]) for line in table.splitlines()[1:]}

    by_hand = dict(each.split(":") for each in read.split())
    locked = pins("runtime.txt")
    assert by_hand.items() <= locked.keys()
    assert names(runtime) | by_hand.keys() == {name for name, _ in locked}
    assert names(extras) == {name for name, _ in pins("convert.txt", "dev.txt")}


@pytest.mark.parametrize(
    ("file", "licence", "package"),
    [
        ("runtime.txt", "MPL-2.0 AND (Apache-2.0 OR MIT)", "orjson"),
        ("extras.txt", "3-Clause BSD License", "protobuf"),
    ],
)
def test_a_licence_that_is_not_allowed_fails_with_the_name_of_the_package(
    file: str, licence: str, package: str, tmp_path: Path
) -> None:
    for each in LICENCES.iterdir():
        shutil.copy(each, tmp_path)
    lines = (tmp_path / file).read_text().splitlines(keepends=True)
    (tmp_path / file).write_text("".join(line for line in lines if line.strip() != licence))
    done = make("licences", f"LICENCES={tmp_path}")
    assert done.returncode == 2
    assert f"license {licence} not in allow-only licenses was found for package {package}:" in done.stderr
    assert ("the extras and the tests" in done.stdout) is (file == "extras.txt")


def test_a_package_that_names_no_licence_fails_where_nobody_has_read_it_in_that_version() -> None:
    read = [pin for pin in pins("runtime.txt") if pin[0] in {"ta-lib", "pysimdjson"}]
    done = make("licences", "LICENCE_READ=" + " ".join(f"{name}:{version}.post1" for name, version in read))
    assert done.returncode == 2
    assert re.search("license UNKNOWN not in .* for package (TA-Lib|pysimdjson):", done.stderr)


@contextmanager
def advisories(known: dict[Pin, str], status: int = 200, text: bytes | None = None) -> Iterator[tuple[str, set[Pin]]]:
    """A server that is asked for advisories as OSV is; yields its address, and all that it has been asked for."""
    asked: set[Pin] = set()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
            pin = query["package"]["name"], query["version"]
            asked.add(pin)
            body = orjson.dumps(advisory(*pin, known[pin]) if pin in known else {}) if text is None else text
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1/query", asked
        finally:
            server.shutdown()
            thread.join()


def advisory(name: str, version: str, identifier: str) -> dict[str, Any]:
    events = [{"introduced": "0"}, {"fixed": f"{version}.post9"}]
    affected = {"package": {"name": name, "ecosystem": "PyPI"}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
    return {"vulns": [{"id": identifier, "summary": "Made up for a test", "affected": [affected]}]}


def test_audit_asks_for_every_pin_of_every_lock_file_and_passes_where_no_advisory_is_known() -> None:
    everything = pins(*(path.name for path in LOCK_FILES.glob("*.txt"))).keys()
    with advisories({}) as (url, asked):
        done = make("audit", PIP_AUDIT_OSV_URL=url, **BESIDE)
    assert done.returncode == 0, done.stderr
    assert asked == everything
    assert f"{len(everything)} pins were asked for: no advisory is known\n" in done.stdout


def test_audit_fails_on_an_advisory_and_names_it_whichever_lock_file_and_python_it_is_for() -> None:
    # One that is locked several times, by the Python it is for, and one of the tests.
    several = sorted(pin for pin in pins("runtime.txt") if pin[0] == "numpy")
    (other,) = (pin for pin in pins("dev.txt") if pin[0] == "pytest")
    assert len(several) > 1
    known = {pin: f"TEST-2026-{number}" for number, pin in enumerate([*several, other])}
    with advisories(known) as (url, _):
        done = make("audit", PIP_AUDIT_OSV_URL=url, **BESIDE)
    assert done.returncode == 2
    assert "no advisory is known" not in done.stdout
    for (name, version), identifier in known.items():
        assert re.search(rf"^{name} +{re.escape(version)} +{identifier} +", done.stdout, re.MULTILINE)


def test_audit_says_in_a_sentence_that_nobody_could_be_asked() -> None:
    with advisories({}) as (url, _):
        pass
    failed_to_ask(url, "Connection refused")


@pytest.mark.parametrize(
    ("status", "text", "reason"),
    [(503, b"", "ServiceError"), (200, b"<html>a captive portal</html>", "JSONDecodeError")],
    ids=["an error", "no JSON"],
)
def test_audit_never_takes_another_answer_for_no_advisory(status: int, text: bytes, reason: str) -> None:
    with advisories({}, status, text) as (url, asked):
        failed_to_ask(url, reason)
    assert asked


def failed_to_ask(url: str, reason: str) -> None:
    done = make("audit", PIP_AUDIT_OSV_URL=url, **BESIDE)
    assert done.returncode == 2
    assert "no advisory is known" not in done.stdout
    sentence, *rest = done.stderr.splitlines()
    assert sentence.startswith("nothing is known of the pins, as no advisories were to be had (")
    assert reason in sentence
    assert "PIP_AUDIT_OSV_URL" in sentence
    assert len(rest) == 1  # of make itself
