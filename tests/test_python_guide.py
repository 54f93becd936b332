"""The examples of docs/python.md run as they stand, one after another."""

from __future__ import annotations

import re
import subprocess
import sys

from support import PATIENCE, ROOT, HttpService

GUIDE = (ROOT / "docs" / "python.md").read_text()
SERVED = """
import asyncio, sys
url = sys.argv[1]
one, rows = over_http(url)
window_forecast, (series,) = asyncio.run(over_http_async(url))
assert np.allclose(one[:, 0], window_forecast[:, 6], atol=1e-4)
assert (series.model, window_forecast.model) == ("vinocast-general", "patchtst-etth1")
assert rows == 1
"""


def test_the_examples_of_the_python_guide_run(http: HttpService) -> None:
    examples = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert len(examples) == 12
    program = "\n".join([*examples, SERVED])
    subprocess.run([sys.executable, "-W", "error", "-c", program, http.url], cwd=ROOT, check=True, timeout=PATIENCE)
