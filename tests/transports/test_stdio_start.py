"""JSON lines from the start: what waits for a model that loads, and that nothing but replies is printed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support import (
    MODEL,
    MODELS,
    Gate,
    StdioService,
    Window,
    by_id,
    error_of,
    packed,
)

MakeGate = Callable[..., Gate]
PING = {"op": "ping", "request_id": "ping"}


def test_what_is_sent_before_the_model_is_ready_waits_for_it(
    make_gate: MakeGate, tmp_path: Path, window: Window
) -> None:
    gate = make_gate()
    with StdioService("--models", tmp_path / "models") as service:
        service.send(
            packed(window, request_id="forecast"),
            packed(window, request_id="late", deadline_ms=1),
            PING,
            packed(window[1:], request_id="wrong"),
            {"op": "stats", "request_id": "stats"},
        )
        gate.reach()
        # What needs no model is answered meanwhile; the rest is not.
        early = by_id([service.receive(), service.receive()])
        assert set(early) == {"wrong", "stats"}
        assert error_of(early["wrong"])[0] == "invalid_shape"
        assert early["stats"]["queued_requests"] == 2
        gate.open()
        late = by_id([service.receive() for _ in range(3)])
        assert late["forecast"]["success"] is True
        assert error_of(late["late"])[0] == "deadline_exceeded"
        assert late["ping"]["ready"] is True
        assert service.finish() == ([], 0)


@pytest.mark.slow
def test_a_model_that_loads_does_not_hold_up_another(make_gate: MakeGate, tmp_path: Path, window: Window) -> None:
    gate = make_gate("slow")
    (tmp_path / "models" / MODEL).symlink_to(MODELS / MODEL)
    with StdioService("--models", tmp_path / "models") as service:
        assert service.ask(PING)["ready"] is True
        gate.reach()
        service.send(packed(window, request_id="slow", model="slow"), packed(window, request_id="quick"))
        quick = service.receive()
        assert (quick["request_id"], quick["model"], quick["success"]) == ("quick", MODEL, True)
        states = {model["name"]: model["state"] for model in service.ask(PING)["models"]}
        assert states == {MODEL: "ready", "slow": "loading"}
        gate.open()
        slow = service.receive()
        assert (slow["request_id"], slow["model"]) == ("slow", "slow")
        assert slow["predictions"] == quick["predictions"]
        assert service.finish() == ([], 0)


def test_a_default_model_that_fails_while_requests_wait_answers_them_and_ends_with_code_1(
    make_gate: MakeGate, tmp_path: Path, window: Window
) -> None:
    gate = make_gate()
    with StdioService("--models", tmp_path / "models") as service:
        service.send(packed(window, request_id="forecast"), PING)
        service.end_input()
        gate.open(weights=bytes(100))
        replies = by_id(service.rest())
        assert replies["forecast"]["success"] is False
        assert "model.bin" in replies["forecast"]["error"]["message"]
        assert replies["ping"]["ready"] is False
        assert service.wait() == 1


def test_nothing_is_printed_unasked() -> None:
    with StdioService() as service:
        service.send(b"\n")
        assert service.finish() == ([], 0)


RECORDER = """
import sys
class Recorder:
    def find_spec(self, name, path=None, target=None):
        if name in ("openvino", "openvino.tools.ovc", "spy"):
            with open(FILE, "a") as file:
                print(name, file=file)
sys.meta_path.insert(0, Recorder())
"""


@pytest.mark.parametrize(("env", "spied"), [({}, False), ({"PYDANTIC_DISABLE_PLUGINS": "none"}, True)])
def test_neither_plugins_of_pydantic_nor_openvinos_converters_are_imported(
    tmp_path: Path, window: Window, env: dict[str, str], spied: bool
) -> None:
    imported = tmp_path / "imported"
    (tmp_path / "sitecustomize.py").write_text(f"FILE = {str(imported)!r}\n{RECORDER}")
    (tmp_path / "spy.py").write_text("raise ImportError")
    (tmp_path / "spy-1.dist-info").mkdir()
    (tmp_path / "spy-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: spy\nVersion: 1\n")
    (tmp_path / "spy-1.dist-info" / "entry_points.txt").write_text("[pydantic]\nspy = spy:plugin\n")
    with StdioService(env={"PYTHONPATH": str(tmp_path), **env}) as service:
        assert service.ask(packed(window))["success"]
    assert set(imported.read_text().split()) == ({"openvino", "spy"} if spied else {"openvino"})


CHATTER = """
import ctypes, os, sys, threading, time
libc = ctypes.CDLL(None)
def chatter():
    while threading.main_thread().is_alive():
        print("chatter by Python", flush=True)
        os.write(1, b"chatter by descriptor\\n")
        libc.puts(b"chatter by C")
        libc.fflush(None)
        time.sleep(0.001)
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "openvino":
            threading.Thread(target=chatter, daemon=True).start()
sys.meta_path.insert(0, Watch())
"""


@pytest.mark.slow
def test_standard_output_carries_replies_only_whatever_a_library_prints(tmp_path: Path, window: Window) -> None:
    # From the import of openvino on, somebody prints in every way there is.
    (tmp_path / "sitecustomize.py").write_text(CHATTER)
    with StdioService(env={"PYTHONPATH": str(tmp_path)}) as service:
        for number in range(50):
            reply = service.ask(packed(window, request_id=number))
            assert (reply["request_id"], reply["success"]) == (number, True)
        for kind in ("Python", "descriptor", "C"):
            assert f"chatter by {kind}" in service.log
        service.end_input()
        assert service.rest() == []
