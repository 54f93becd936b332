"""What tests of tables may use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from table_support import Read
from vinocast.data.tables.read import read_table
from vinocast.data.tables.table import Table, TableOptions

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(text: str | bytes, **options: Any) -> Table:
        path = tmp_path / "mine.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_table(path, TableOptions(**options))

    return read
