"""What the answers of each arm say, written down by who read them before any number was looked at.

Whoever counts first reads what he counted into the answers. So some answers of every arm to the same few items are
read aloud first, and what they say is kept in `locks/<study>.aloud.jsonl`, rows of `analysis.report.study.ReadAloud`.
"""

from collections import Counter
from pathlib import Path

from analysis.report.study import ReadAloud
from common.errors import InputError
from common.serialization import read_jsonl
from common.stance.labels import labels_file


def aloud_file(study: str) -> Path:
    """Where what was read is kept in this repository, one row a model and arm."""
    return labels_file(study).with_name(f"{study}.aloud.jsonl")


def read_aloud(path: Path) -> list[ReadAloud]:
    """The rows; none where there is no file. Raises: InputError for a bad row or a second one of an arm; OSError."""
    rows = read_jsonl(path, ReadAloud) if path.is_file() else []
    for (model, arm), times in Counter((row.model, row.arm) for row in rows).items():
        if times > 1:
            raise InputError("arm told twice", where=path.name, value=f"{model} {arm}", allowed="one row an arm")
    return rows
