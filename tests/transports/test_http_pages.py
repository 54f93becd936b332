"""What a newcomer sees first: the documentation, its examples, the welcome, and what is said of refused models."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from support import (
    MODEL,
    MODELS,
    PATIENCE,
    HttpService,
    Reply,
    StdioService,
    change_manifest,
    copy_model,
    error_of,
    wait_until,
)


def example_of(parameter: dict[str, Any]) -> Any:
    if "example" in parameter:
        return parameter["example"]
    return next(iter(parameter["examples"].values()))["value"]


def try_everything_out(service: HttpService) -> list[str]:
    """Execute each operation of the document, in order, with its examples; return what was executed."""
    document = httpx.get(f"{service.url}/openapi.json").json()
    executed = []
    for route, operations in document["paths"].items():
        for method, operation in operations.items():
            path, query = route, {}
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path":
                    path = path.replace(f"{{{parameter['name']}}}", example_of(parameter))
                elif parameter.get("required"):
                    query[parameter["name"]] = example_of(parameter)
            content = operation.get("requestBody", {}).get("content", {})
            bodies: list[tuple[str | None, bytes | None]] = [
                (kind, orjson.dumps(media["example"])) for kind, media in content.items()
            ]
            bodies = bodies or [(None, None)]
            for kind, body in bodies:
                response = httpx.request(
                    method,
                    f"{service.url}{path}",
                    params=query,
                    content=body,
                    headers={"Content-Type": kind} if kind else {},
                    timeout=PATIENCE,
                )
                assert 200 <= response.status_code < 300, (method, path, response.text)
                executed.append(f"{method.upper()} {route}")
    return executed


def commands(log: str) -> list[str]:
    return re.findall(r"^  (curl .*)$", log, re.MULTILINE)


def run(command: str, folder: Path) -> dict[str, Any]:
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, check=True, timeout=PATIENCE)
    reply: dict[str, Any] = orjson.loads(done.stdout)
    return reply


def test_every_example_of_the_documentation_succeeds_on_a_fresh_service() -> None:
    with HttpService() as service:
        executed = try_everything_out(service)
        assert {
            "POST /forecast",
            "POST /glyphs",
            "POST /streams/{stream}/observations",
            "DELETE /streams/{stream}",
            "GET /streams",
            "GET /readyz",
        } <= set(executed)


def test_examples_and_welcome_are_those_of_the_models_that_are_served(tmp_path: Path) -> None:
    # A forecaster of three channels, and no glyph model.
    change_manifest(copy_model(tmp_path / "models", "narrow"), channels=["a", "b", "c"])
    with HttpService("--models", tmp_path / "models", cwd=tmp_path) as service:
        assert "POST /glyphs" not in try_everything_out(service)
        wait_until(lambda: "lets you try them" in service.log, "the welcome")
        (command,) = commands(service.log)
        assert run(command, tmp_path)["rows"] == 1


def test_the_welcome_works_from_any_folder(tmp_path: Path) -> None:
    with HttpService(cwd=tmp_path) as service:
        wait_until(lambda: "lets you try them" in service.log, "the welcome")
        forecast, glyphs = commands(service.log)
        assert len(run(forecast, tmp_path)["predictions"]) == 96
        assert len(run(glyphs, tmp_path)["results"]) == 3


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_a_page_and_all_it_loads_come_from_the_service_alone(http: HttpService, page: str) -> None:
    with httpx.Client(base_url=http.url, timeout=PATIENCE) as client:
        response = client.get(page)
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]
        assert "://" not in re.sub(r"<noscript>.*?</noscript>", "", response.text)
        links = re.findall(r"""(?:src|href|spec-url)=["']([^"']+)["']""", response.text)
        assert len(links) >= 2
        for link in links:
            assert link.startswith("/"), link
            asset = client.get(link)
            assert asset.status_code == 200
            assert asset.content
            # What a script or a style would load by itself, unlike the links that it shows and names of schemas.
            assert re.findall(r"""(?:src[:=]|url\()\s*["']?((?:https?:)?//[^"')]*)""", asset.text) == []
            assert "//cdn." not in asset.text


def test_a_validator_outside_is_not_asked(http: HttpService) -> None:
    assert re.search(r'"validatorUrl": null', httpx.get(f"{http.url}/docs").text)


@pytest.mark.slow
def test_refused_models_are_named_where_readiness_is_asked_for(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / MODEL).symlink_to(MODELS / MODEL)
    (models / "glyphs").mkdir()
    for file in (MODELS / "glyphs").iterdir():
        (models / "glyphs" / file.name).symlink_to(file)
    (models / "glyphs" / "phase2.bin").unlink()
    (models / "glyphs" / "phase2.bin").write_bytes(b"damaged")
    (models / "scratched").mkdir()
    (models / "scratched" / "manifest.json").write_bytes(b"{")
    with HttpService("--models", models) as service:
        ready = httpx.get(f"{service.url}/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (200, True)
        degraded = {entry["model"]: entry["error"] for entry in ready.json()["degraded"]}
        assert set(degraded) == {"glyphs", "scratched"}
        assert "phase2.bin" in degraded["glyphs"]
        assert "manifest.json" in degraded["scratched"]
        wait_until(lambda: "lets you try them" in service.log, "the welcome")
        assert [command for command in commands(service.log) if "/glyphs" in command] == []
        asked: dict[str, Reply] = {"forecast": {"past_values": [[1]]}, "glyphs": {"grids": [[[0] * 16] * 16]}}
        for route, body in asked.items():
            refused = httpx.post(f"{service.url}/{route}", json={"model": "scratched", **body})
            assert (refused.status_code, error_of(refused.json())) == (404, ("unknown_model", "model"))
            assert "manifest.json" in refused.json()["error"]["message"]
    with StdioService("--models", models) as stdio:
        assert [entry["model"] for entry in stdio.ask({"op": "ping"})["degraded"]] == ["scratched"]


def test_nothing_is_degraded_where_all_models_are_served(http: HttpService) -> None:
    assert httpx.get(f"{http.url}/readyz").json()["degraded"] == []
