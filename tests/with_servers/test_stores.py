"""What each store can do, as docs/archive_stores.md says it."""

from pathlib import Path

import pytest
from support.s3_places import Place
from support.s3_servers import STARTS
from support.store_probes import PROBES

DOCUMENT = Path(__file__).parents[2] / "docs" / "archive_stores.md"


def documented() -> dict[str, dict[str, str]]:
    """Return the document's answers by question and server, as it is called in the tests."""
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("|")]
    header, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)
    columns = {name.split()[0].lower(): number for number, name in enumerate(header)}
    return {row[0]: {name: row[columns[name]] for name in STARTS} for row in rows}


@pytest.mark.parametrize("question", PROBES)
def test_a_store_does_what_the_document_says(question: str, place: Place) -> None:
    name = place.server.name.lower()
    assert PROBES[question](place) == documented()[question][name]


def test_the_document_has_a_line_for_each_question() -> None:
    assert list(documented()) == list(PROBES)
