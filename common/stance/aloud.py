"""What the answers of each arm say, written down by who read them before any number was looked at.

Whoever counts first reads what he counted into the answers. So some answers of every arm to the same few items are
read aloud first, and what they say is kept in `locks/<study>.aloud.jsonl`; the report shows it.
"""

from collections import Counter
from pathlib import Path

from pydantic import Field

from common.errors import InputError
from common.records import Record
from common.serialization import read_jsonl
from common.stance.labels import labels_file


class Aloud(Record):
    """What the answers of one arm say."""

    model: str = Field(min_length=1, description="name of the model in the spec")
    arm: str = Field(min_length=1, description="base, or an attitude")
    items: tuple[str, ...] = Field(min_length=1, description="ids of the items, the same for every arm")
    answers: int = Field(ge=1, description="how many were read")
    said: str = Field(min_length=1, description="what they say, in a few sentences")


def aloud_file(study: str) -> Path:
    """Where what was read is kept in this repository, one row a model and arm."""
    return labels_file(study).with_name(f"{study}.aloud.jsonl")


def read_aloud(path: Path) -> list[Aloud]:
    """The rows; none where there is no file. Raises: InputError for a bad row or a second one of an arm; OSError."""
    rows = read_jsonl(path, Aloud) if path.is_file() else []
    for (model, arm), times in Counter((row.model, row.arm) for row in rows).items():
        if times > 1:
            raise InputError("arm told twice", where=path.name, value=f"{model} {arm}", allowed="one row an arm")
    return rows
