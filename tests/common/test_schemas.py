"""The JSON outputs that stay: written as they were set, read strictly, every field explained."""

import inspect
import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from common import schemas
from common.cells import STUDY, CellKind
from common.errors import ExitCode, InputError
from common.logs import Log
from common.pipeline.job import Job, Read
from common.pipeline.keys import Keys
from common.pipeline.step import Step
from common.spec import parse_spec
from common.store.sealed import open_store
from tests.analysis.report import documents

MODELS = [
    found
    for _, found in inspect.getmembers(schemas, inspect.isclass)
    if issubclass(found, schemas.Document) and found is not schemas.Document
]
SPEC = parse_spec(b'{"name": "x", "models": [{"name": "m", "source": "path:m"}]}', "x")
MAKER = Job("maker", 1, "cpu", (CellKind.STUDY,), writes=("a.json",))
READER = Job("reader", 1, "cpu", (CellKind.STUDY,), reads=(Read("maker", lambda spec, cell: (STUDY,), ("a.json",)),))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_is_explained_and_nothing_is_coerced(model: type[schemas.Document]) -> None:
    assert len(MODELS) > 25
    assert [name for name, field in model.model_fields.items() if not field.description] == []
    assert model.model_config["strict"] and model.model_config["frozen"] and model.model_config["extra"] == "forbid"


def step(job: Job, folder: Path) -> Step:
    store = open_store(str(folder))
    return Step(job, STUDY, SPEC, store, Keys(SPEC, {"maker": MAKER, "reader": READER}, store), Log("x", "y"))


def through_a_store(value: BaseModel | dict[str, object], folder: Path) -> Step:
    """Seal a value as a.json; what may read it."""
    maker = step(MAKER, folder)
    if isinstance(value, BaseModel):
        maker.write_model("a.json", value)
    else:
        maker.write_json("a.json", value)
    maker.seal(ExitCode.OK, "2026-01-01T00:00:00+00:00", 1.0)
    return step(READER, folder)


@pytest.mark.parametrize(
    "value",
    [documents.guards(), documents.lock(), documents.steering(), documents.steering([documents.level(0.1)])],
    ids=["guards", "lock", "not measured", "measured"],
)
def test_what_is_read_is_what_was_written(value: schemas.Document, tmp_path: Path) -> None:
    assert through_a_store(value, tmp_path).read_model("maker", STUDY, "a.json", type(value)) == value


def test_what_was_not_set_is_absent_and_what_is_not_known_is_null(tmp_path: Path) -> None:
    told = documents.steering(control=documents.control(against=documents.against(threshold=None)))
    written = json.loads(through_a_store(told, tmp_path).read_bytes("maker", STUDY, "a.json"))
    assert set(written) == {"layer", "control", "measured"}
    assert written["control"]["against"]["threshold"] is None


def test_a_count_stays_a_count() -> None:
    check = schemas.FramingCheck(name="leakage", value=0, bound=0.5, passed=True, detail="", enforced=True)
    assert '"value":0,"bound":0.5' in check.model_dump_json()


@pytest.mark.parametrize(
    "change, said",
    [
        ({"tokens": "1000"}, "maker/study/a.json:/tokens"),
        ({"paragraphs": [[1.0, 2.5]]}, "maker/study/a.json:/paragraphs/0/1"),
        ({"more": 1}, "maker/study/a.json:/more"),
    ],
)
def test_another_shape_is_refused_with_its_place(change: dict[str, object], said: str, tmp_path: Path) -> None:
    reader = through_a_store(documents.guards().model_dump(mode="json") | change, tmp_path)
    with pytest.raises(InputError, match=said):
        reader.read_model("maker", STUDY, "a.json", schemas.Guards)
