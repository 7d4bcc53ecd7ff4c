"""The house rules that a program can check."""

import re
import subprocess
from pathlib import Path

import pytest
from pydantic import BaseModel

from schemas import answers, customer, entities, event, personal
from schemas.entities import Shape

ROOT = Path(__file__).parents[2]
MODULES = (answers, customer, entities, event)  # imported, so that all their shapes are known


def shapes(base: type[BaseModel] = Shape) -> list[type[BaseModel]]:
    below = [each for kind in base.__subclasses__() for each in shapes(kind)]
    return [base, *below] if base is not Shape else below


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return [ROOT / name for name in listed.splitlines() if (ROOT / name).is_file()]


@pytest.mark.parametrize("shape", shapes(), ids=lambda shape: shape.__name__)
def test_every_field_has_its_class_of_personal_data(shape: type[BaseModel]) -> None:
    for field in shape.model_fields:
        assert personal.level(shape, field) in ("none", "identifying", "content", "sensitive")


def test_names_and_addresses_are_identifying_and_words_are_content() -> None:
    assert personal.level(entities.Person, "display_name") == "identifying"
    assert personal.level(entities.Person, "identifiers") == "identifying"
    assert personal.level(entities.Message, "body") == "content"
    assert personal.level(entities.Call, "transcript") == "sensitive"


@pytest.mark.parametrize(
    "never",
    [
        r"(^|[^\w./-])/(work|root|farm|home/\w+)/",
        r"(pypi|npmjs|crates|golang|maven)\.(org|com|io)\b",
        r"\b(TODO|FIXME|XXX)\b",
    ],
)
def test_no_tracked_file_names_a_machine_a_registry_or_unfinished_work(never: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked()
        if path.suffix in (".py", ".md", ".yaml", ".yml", ".toml", ".txt", ".js", ".html", ".css", ".xml", "")
        and path != Path(__file__)
        for number, line in enumerate(path.read_text(errors="ignore").splitlines(), 1)
        if re.search(never, line)
    ]
    assert found == []


def test_a_python_file_has_one_duty() -> None:
    """Tests tell longer stories; code beyond 400 lines is two files."""
    long = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if path.suffix == ".py" and "tests" not in path.parts and len(path.read_text().splitlines()) > 400
    ]
    assert long == []
