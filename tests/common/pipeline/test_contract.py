"""A step gets what its job declares and nothing else: jobs, cells, outputs, sections and facts of the spec, files."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from common.cells import STUDY, CellKind, cells_of
from common.digests import sha256
from common.errors import ExitCode, InputError, JobError
from common.logs import Log
from common.pipeline.job import Fact, Job, Read
from common.pipeline.keys import Keys
from common.pipeline.step import Step
from common.serialization import canonical_json
from common.spec import RunSpec, parse_spec
from common.store.sealed import open_store
from jobs import catalog

SPEC = parse_spec(json.dumps({"name": "x", "models": [{"name": "m", "source": "package:p"}]}).encode(), "spec")
RUN = cells_of(SPEC, CellKind.RUN)[0]
NAME = Fact("name", lambda spec, cell: spec.name, lambda spec, cell: {"name": spec.name})
SEEDS = Fact("seeds", lambda spec, cell: spec.seeds, lambda spec, cell: {"seeds": str(spec.seeds)})
MAKER = Job("maker", 1, "cpu", (CellKind.STUDY, CellKind.RUN), writes=("a.json", "b.json", "folder/"))
OTHER = Job("other", 1, "cpu", (CellKind.STUDY,), writes=("a.json",))
READER = Job(
    "reader",
    1,
    "cpu",
    (CellKind.STUDY,),
    sections=("gate",),
    reads=(Read("maker", lambda spec, cell: (STUDY,), ("a.json", "folder/")),),
    data=("README.md",),
    facts=(NAME,),
    writes=("c.json",),
)
EVERYTHING = Job("everything", 1, "cpu", (CellKind.STUDY,), sections=("*",))
CATALOG = {job.name: job for job in (MAKER, OTHER, READER, EVERYTHING)}


@pytest.fixture
def step_of(tmp_path: Path) -> Callable[[Job], Step]:
    store = open_store(str(tmp_path))

    def make(job: Job) -> Step:
        return Step(job, STUDY, SPEC, store, Keys(SPEC, CATALOG, store), Log(job.name, "study"))

    return make


@pytest.fixture
def reader(step_of: Callable[[Job], Step]) -> Step:
    for job in (MAKER, OTHER):
        made = step_of(job)
        for name in ("a.json", *(("b.json", "folder/x") if job is MAKER else ())):
            made.write_json(name, 1)
        made.seal(ExitCode.OK, "2026-01-01T00:00:00+00:00", 1.0)
    return step_of(READER)


def test_what_is_declared_is_given(reader: Step) -> None:
    assert reader.read_json("maker", STUDY, "a.json") == reader.read_json("maker", STUDY, "folder/x") == 1
    assert reader.names("maker", STUDY) == ["a.json", "folder/x"], "b.json is sealed, but not declared"
    assert reader.sources("maker") == (STUDY,) and reader.sealed("maker", STUDY)
    assert reader.spec.gate == SPEC.gate and reader.fact(NAME) == "x"
    assert reader.data("README.md").is_file() and reader.seed() == SPEC.seed("reader", STUDY)


@pytest.mark.parametrize(
    "attempt, said",
    [
        (lambda step: step.read_json("other", STUDY, "a.json"), "job to read, reader: other; allowed: maker"),
        (lambda step: step.sealed("other", STUDY), "job to read, reader: other; allowed: maker"),
        (lambda step: step.manifest("reader", STUDY), "job to read, reader: reader; allowed: maker"),
        (lambda step: step.sources("other"), "job to read, reader: other; allowed: maker"),
        (lambda step: step.read_json("maker", RUN, "a.json"), f"cell to read, reader: maker/{RUN}; allowed: study"),
        (
            lambda step: step.read_json("maker", STUDY, "b.json"),
            "output to read, reader: maker/b.json; allowed: a.json",
        ),
        (lambda step: step.digest("maker", STUDY, "b.json"), "output to read, reader: maker/b.json; allowed: a.json"),
        (lambda step: step.spec.train, "part of the spec, reader: train; allowed: gate"),
        (lambda step: step.spec.models, "part of the spec, reader: models; allowed: gate"),
        (lambda step: step.spec.model("m"), "part of the spec, reader: model; allowed: gate"),
        (lambda step: step.spec.seed("x"), "part of the spec, reader: seed; allowed: gate"),
        (lambda step: step.spec.model_dump(), "part of the spec, reader: model_dump; allowed: gate"),
        (lambda step: cells_of(step.spec, CellKind.RUN), "part of the spec, reader: "),
        (lambda step: step.fact(SEEDS), "fact, reader: seeds; allowed: name"),
        (lambda step: step.data("Makefile"), "data file, reader: Makefile; allowed: README.md"),
        (lambda step: step.write_json("d.json", 1), "output, reader: d.json; allowed: c.json"),
        (lambda step: step.parameter("p", 1), "parameter, reader: p; allowed: nothing"),
    ],
)
def test_what_is_not_declared_is_refused(reader: Step, attempt: Callable[[Step], object], said: str) -> None:
    with pytest.raises(JobError) as caught:
        attempt(reader)
    assert f"job does not declare this {said}" in str(caught.value) and caught.value.exit_code == ExitCode.BUG


def test_a_job_that_declares_the_whole_spec_gets_it(step_of: Callable[[Job], Step]) -> None:
    spec = step_of(EVERYTHING).spec
    assert spec.models == SPEC.models and len(cells_of(spec, CellKind.RUN)) == 6


@pytest.mark.parametrize("name", ["gate", "seeds", "data"])
def test_all_that_a_step_may_get_is_in_its_key(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(str(tmp_path))
    job = Job("j", 1, "cpu", (CellKind.STUDY,), sections=("gate",), facts=(SEEDS,), data=("README.md",))
    before = Keys(SPEC, {"j": job}, store).key("j", STUDY)
    spec: RunSpec = SPEC
    if name == "data":
        monkeypatch.setattr("common.provenance.ROOT", tmp_path)
        (tmp_path / "README.md").write_text("other bytes")
    else:
        value = (7,) if name == "seeds" else SPEC.gate.model_copy(update={"level": 0.8})
        spec = SPEC.model_copy(update={name: value})
    assert Keys(spec, {"j": job}, store).key("j", STUDY) != before
    assert Keys(SPEC.model_copy(update={"name": "y"}), {"j": job}, store).key("j", STUDY) == before or name == "data"


def test_what_changed_since_the_key_was_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.provenance.ROOT", tmp_path)
    (tmp_path / "README.md").write_text("bytes")
    job = Job("j", 1, "cpu", (CellKind.STUDY,), data=("README.md",))
    keys = Keys(SPEC, {"j": job}, open_store(str(tmp_path)))
    key = keys.key("j", STUDY)
    keys.check_data("j", STUDY, "README.md")
    (tmp_path / "README.md").write_text("other bytes")
    with pytest.raises(InputError, match=r"file changed while the job ran, README\.md: [0-9a-f]{64}; allowed: "):
        keys.check_data("j", STUDY, "README.md")
    assert keys.key("j", STUDY) == key == sha256(canonical_json(keys.named_by("j", STUDY)))


def test_no_job_declares_what_nobody_writes() -> None:
    jobs, reads = catalog(), 0
    for job in jobs.values():
        for read in job.reads:
            assert read.outputs, f"{job.name} reads {read.job}, but none of its outputs"
            reads += len(read.outputs)
            for name in read.outputs:
                assert name in jobs[read.job].writes, f"{job.name} reads {read.job}/{name}, which is not written"
    assert reads >= 40
