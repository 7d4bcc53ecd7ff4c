"""Fixtures of more than one file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.config import Connection, declared
from tests.connectors.declared_source import DESK


@pytest.fixture
def desk(tmp_path: Path) -> Callable[..., Connection]:
    """A declaration of DESK with other sections, read from a file as a person writes it."""

    def made(**sections: Any) -> Connection:
        file = tmp_path / "desk.yaml"
        file.write_text(yaml.safe_dump({**DESK, **sections}, allow_unicode=True))
        return declared(file)

    return made
