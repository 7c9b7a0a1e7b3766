"""Steps whose input was forged by somebody who can write to the store: no file outside, no secret, one line, exit 3."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.cells import STUDY, CellKind
from common.errors import ExitCode, InputError
from common.pipeline.command import run_job
from common.pipeline.job import Job, Read
from common.pipeline.keys import Keys
from common.pipeline.step import Step
from common.serialization import canonical_json
from common.spec import parse_spec
from common.store.sealed import ArtifactStore, as_kept, open_store
from workflows.local.results import write_outputs

MAKER = Job("maker", 1, "cpu", (CellKind.STUDY,), writes=("folder/",), parameters=("p",), resumes=True)
READER = Job("reader", 1, "cpu", (CellKind.STUDY,), reads=(Read("maker", lambda spec, cell: (STUDY,), ("folder/",)),))
CATALOG = {"maker": MAKER, "reader": READER}
SPEC = json.dumps({"name": "x", "models": [{"name": "m", "source": "package:p"}]})
FORGED = {
    "up": "folder/../../../outside",
    "up in its own part": "folder/..",
    "absolute": "folder//tmp/undertone-outside",
    "NUL": "folder/a\0b",
    "backslash": "folder/..\\outside",
    "too long": "folder/" + "x" * 300,
    "nothing": "folder/",
}


class Place:
    """A store, what lies beside it, and the commands that use it."""

    def __init__(self, root: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.root, self.capfd, self.store = root, capfd, open_store(str(root / "store"))
        self.keys = Keys(parse_spec(SPEC.encode(), "spec"), CATALOG, self.store)

    def run(self, job: Job, main: Callable[[Step], ExitCode]) -> tuple[int, str, list[str]]:
        argv = ["--spec", SPEC, "--cell", "study", "--store", str(self.root / "store")]
        code = run_job(job, main, CATALOG, argv)
        out, err = self.capfd.readouterr()
        return code, out, [line for line in err.splitlines() if not line.startswith("{")]

    def forge(self, outputs: dict[str, bytes], parameters: dict[str, str] | None = None) -> dict[str, Any]:
        held = {name: {"digest": self.store.put(data), "bytes": len(data)} for name, data in outputs.items()}
        facts = {"job": "maker", "cell": "study", "key": self.keys.key("maker", STUDY), "started": "", "seconds": 0}
        facts |= {"outputs": held, "parameters": parameters or {}, "exit_code": 0, "summary": {}}
        self.store.objects.put(f"steps/maker/{facts['key']}/manifest.json", canonical_json(facts), once=True)
        return facts

    def files(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture
def place(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("UNDERTONE_OUTPUTS", str(tmp_path / "outputs"))
    return Place(tmp_path, capfd)


def reads(into: Path) -> Callable[[Step], ExitCode]:
    def main(step: Step) -> ExitCode:
        step.read_folder("maker", STUDY, "folder/", into)
        return ExitCode.OK

    return main


@pytest.mark.parametrize("name", FORGED.values(), ids=FORGED)
def test_a_forged_output_is_not_written(place: Place, name: str) -> None:
    manifest = place.forge({"folder/a": b"1", name: b"2"})
    before = place.files()
    code, out, lines = place.run(READER, reads(place.root / "deep" / "er" / "into"))
    assert (code, out, len(lines)) == (3, "", 1) and lines[0].startswith("error: bad name in the store, ")
    with pytest.raises(InputError, match="bad name in the store"):
        write_outputs(manifest, place.store, place.root / "report", MAKER)
    assert place.files() == before and not Path("/tmp/undertone-outside").exists()


def test_a_second_run_over_a_good_manifest_succeeds(place: Place) -> None:
    place.forge({"folder/../x": b"1"})
    assert place.run(READER, reads(place.root / "into"))[0] == 3
    place.store.objects.delete(f"steps/maker/{place.keys.key('maker', STUDY)}/manifest.json")
    manifest = place.forge({"folder/a/b": b"1"})
    assert place.run(READER, reads(place.root / "into"))[0] == 0
    assert (place.root / "into" / "a" / "b").read_bytes() == b"1"
    write_outputs(manifest, place.store, place.root / "report", MAKER)
    assert (place.root / "report" / "folder" / "a" / "b").read_bytes() == b"1"
    assert (place.root / "report" / "manifest.json").read_bytes() == as_kept(manifest)


@pytest.mark.parametrize("name", ["../../outside", "/tmp/undertone-outside", "a\0b"])
def test_a_forged_parameter_is_not_handed_over(place: Place, name: str) -> None:
    place.forge({}, {"p": "1", name: "2"})
    before = place.files()
    code, out, lines = place.run(MAKER, lambda step: pytest.fail("a sealed step ran again"))
    assert (code, out, len(lines)) == (3, "", 1) and "bad name in the store" in lines[0]
    assert place.files() == before and not Path("/tmp/undertone-outside").exists()


@pytest.mark.parametrize(
    "handed, line",
    [
        ({"spec": SPEC.replace('"x"', '"y"')}, "the sealed step hands over another spec, maker/study: y-"),
        ({"spec": "{"}, "the sealed step hands over no spec, maker/study: malformed JSON"),
        ({"p": 5}, "malformed parameters in a manifest, maker/study; allowed: names and texts"),
        (["p"], "malformed manifest, steps/maker/"),
    ],
    ids=["another spec", "no spec", "a number", "a list"],
)
def test_later_steps_get_no_other_spec_than_the_one_asked_for(place: Place, handed: Any, line: str) -> None:
    place.forge({}, handed)
    code, out, lines = place.run(MAKER, lambda step: pytest.fail("a sealed step ran again"))
    assert (code, out, len(lines)) == (3, "", 1) and lines[0].startswith(f"error: {line}")
    assert not (place.root / "outputs").exists()


def test_the_spec_that_was_asked_for_is_handed_over(place: Place) -> None:
    place.forge({}, {"spec": SPEC})
    assert place.run(MAKER, lambda step: pytest.fail("a sealed step ran again"))[0] == 0
    assert (place.root / "outputs" / "spec").read_text() == SPEC


@pytest.mark.parametrize("name", [".bashrc", "jobs/plan/plan.py", "a.json.py"])
def test_what_the_job_does_not_write_is_not_copied_where_a_person_opens_it(place: Place, name: str) -> None:
    manifest = place.forge({"folder/a": b"1", name: b"import os"})
    before = place.files()
    with pytest.raises(InputError, match=f"not an output of this job, maker: {re.escape(name)}; allowed: folder/"):
        write_outputs(manifest, place.store, place.root / "report", MAKER)
    assert place.files() == before


MALFORMED: dict[str, tuple[dict[str, Any], str]] = {
    "no outputs": ({"outputs": None}, "a manifest without a field, "),
    "no exit code": ({"exit_code": None}, "a manifest without a field, "),
    "outputs in a list": ({"outputs": []}, "malformed manifest, "),
    "an output that is text": ({"outputs": {"folder/a": "x"}}, "malformed manifest, "),
    "an output without a digest": ({"outputs": {"folder/a": {"bytes": 1}}}, "malformed manifest, "),
    "an exit code that is text": ({"exit_code": "0"}, "malformed manifest, "),
    "an exit code that is true": ({"exit_code": True}, "malformed manifest, "),
    "an exit code that asks to be tried for ever": ({"exit_code": 75}, "malformed manifest, "),
    "seconds in words": ({"seconds": "long"}, "malformed manifest, "),
    "that of another step": ({"key": "0" * 64}, "the manifest of another step, "),
    "that of another job": ({"job": "reader"}, "the manifest of another step, "),
}


@pytest.mark.parametrize("fields, line", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_manifest_is_no_result_and_one_line(place: Place, fields: dict[str, Any], line: str) -> None:
    manifest = place.forge({"folder/a": b"1"})
    name = f"steps/maker/{manifest['key']}/manifest.json"
    forged = {field: value for field, value in (manifest | fields).items() if value is not None}
    place.store.objects.put(name, json.dumps(forged).encode(), once=False)
    before = place.files()
    code, out, lines = place.run(MAKER, lambda step: pytest.fail("a sealed step ran again"))
    assert (code, out, len(lines)) == (3, "", 1) and lines[0].startswith(f"error: {line}") and name in lines[0]
    if "exit_code" not in fields and "seconds" not in fields:
        assert place.run(READER, reads(place.root / "into"))[0] == 3
    assert place.files() == before


def test_half_a_report_is_not_written_over_a_whole_one(place: Place) -> None:
    (place.root / "report").mkdir()
    (place.root / "report" / "folder").write_text("the one before")
    manifest = place.forge({"folder/a": b"1"})
    manifest["outputs"]["folder/b"] = {"digest": "0" * 64}
    before = place.files()
    with pytest.raises(InputError, match="blob is missing"):
        write_outputs(manifest, place.store, place.root / "report", MAKER)
    assert place.files() == before


def resume(step: Step) -> ExitCode:
    step.load_checkpoint(step.workdir / "resume")
    return ExitCode.OK


@pytest.mark.parametrize("name", ["../../outside", "/tmp/undertone-outside", "a\0b", "a\\b"])
def test_a_forged_checkpoint_is_not_restored(place: Place, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    # As the store hands it over: whoever reads the record may, or may not, have looked at its names.
    before = place.files()
    with monkeypatch.context() as patch:
        patch.setattr(ArtifactStore, "newest_checkpoint", lambda *_: ({name: b"1"}, {"step": 1}))
        code, out, lines = place.run(MAKER, resume)
    assert (code, out, len(lines)) == (3, "", 1) and "bad name in the store" in lines[0]
    assert place.files() == before and not Path("/tmp/undertone-outside").exists()
    assert place.run(MAKER, resume)[0] == 0


def test_a_forged_record_of_a_checkpoint_reads_nothing_outside_its_store(place: Place) -> None:
    (place.root / "outside").write_text("canary")
    folder = f"steps/maker/{place.keys.key('maker', STUDY)}/checkpoints/1-a/"
    record = {"files": {"../../../../../../outside": "0" * 64}, "facts": {}}
    place.store.objects.put(folder + "COMPLETE.json", canonical_json(record), once=True)
    before = place.files()
    code, _, lines = place.run(MAKER, resume)
    assert (code, len(lines)) == (3, 1) and "canary" not in lines[0] and place.files() == before


@pytest.mark.parametrize("odd", ["link", "backslash"])
def test_a_folder_with_what_could_not_come_back_is_not_stored(place: Place, odd: str) -> None:
    folder = place.root / "in"
    folder.mkdir()
    if odd == "link":
        (folder / "x").symlink_to("/etc/hostname")
    else:
        (folder / "a\\b").write_text("1")

    def writes(step: Step) -> ExitCode:
        step.write_folder("folder/", folder)
        return ExitCode.OK

    code, _, lines = place.run(MAKER, writes)
    assert (code, len(lines)) == (3, 1) and not list(place.root.rglob("manifest.json"))
