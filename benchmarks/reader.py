"""What the reader of answers is worth: held against labels of real answers of pilot models.

    python -m benchmarks.reader
    python -m benchmarks.reader --judge http://127.0.0.1:8000/v1 --model NAME [--answers 40]

`common/stance/data/validation.jsonl` holds answers to pilot items, base and tuned, each with two labels by readers who
knew neither the arm nor each other's label. Printed: agreement of both passes, and of the reader with them where they
agree (Cohen's κ); net go by arm from labels alone, beside the reader's; what the reader reads otherwise most often. All
of that, with the whole confusion by arm, is kept as `common/stance/data/reader.json`, where reports look up whether
answers can be read.

Printed only: how far the arms stand apart in net go, with intervals over topics, by all labels and by the reader.
Beside these stands what would be said with labels of one answer an item only: the prediction-powered interval from them
and from the reader on all answers. In one column the greedy answer is the labelled one, as in a report; in the other,
any. Both take the reader to err alike on the answers without labels. The labels of all answers tell whether it does.

With `--judge`, a server judges the same answers, or the first so many of them, by the codebook and as the job `judge`
asks it; its key is read from UNDERTONE_JUDGE_KEY. Its agreement with the labels is printed beside that of the reader on
the same answers, and not kept.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scipy import stats

from analysis.report.answers import PAIRS
from analysis.stats.agreement import kappa, kappa_with
from analysis.stats.intervals import Interval as Spread
from analysis.stats.labels import shares
from analysis.stats.powered import Both, powered
from analysis.stats.sensitivity import apart
from common.cli import ended, parsed
from common.errors import ExitCode, InputError, SpecError
from common.provenance import ROOT
from common.records import Answer, Item, Labelled, Validation, first_of_each
from common.schemas import ArmReading, Interval, ReaderOnModel, ReaderWorth
from common.serialization import read_jsonl
from common.server.client import How, Wanted, replies
from common.server_spec import JudgeSpec
from common.stance.items import PILOT_ITEMS
from common.stance.judge import TEMPERATURE, judged_turn, label_of
from common.stance.labels import CODEBOOK
from common.stance.reading import READER_FILES, READER_WORTH, read_reader
from common.vocabulary import Said

DATA = ROOT / "common/stance/data/validation.jsonl"
RESULT = ROOT / READER_WORTH
LEVEL = 0.95
OPTIONS = {"url": "--judge", "model": "--model", "concurrency": "--concurrency"}  # field of a judge → its option
MISREAD = 3  # kinds of errors that are printed; all are kept
BY = ("labels", "judge", "reader")
Read = Sequence[tuple[Validation, Said]]
Floats = NDArray[np.float64]


def net(read: Sequence[tuple[Said, ...]]) -> Floats:
    """Net go of each answer: 1 for go, -1 for stay, 0 for all else; the mean over its readings."""
    table = shares(read)
    return (table["go"] - table["stay"]).to_numpy(dtype=np.float64)


def plain_mean(values: Floats) -> Interval:
    """A mean with its normal interval; answers are taken as independent."""
    half = float(stats.norm.ppf((1 + LEVEL) / 2)) * float(values.std(ddof=1)) / float(np.sqrt(len(values)))
    return Interval(estimate=float(values.mean()), low=float(values.mean()) - half, high=float(values.mean()) + half)


def worth(rows: Sequence[Validation], read: Sequence[Said]) -> ReaderWorth:
    """The reader beside the labels, model by model."""
    both = list(zip(rows, read, strict=True))
    models = dict.fromkeys(row.model for row in rows)
    return ReaderWorth(models={name: _model([each for each in both if each[0].model == name]) for name in models})


def _model(both: Read) -> ReaderOnModel:
    rows = [row for row, _ in both]
    arms = {arm: _arm([each for each in both if each[0].arm == arm]) for arm in dict.fromkeys(row.arm for row in rows)}
    return ReaderOnModel(
        answers=len(rows),
        agreed=len(_agreed(both)),
        kappa_passes=_known(kappa([row.first for row in rows], [row.second for row in rows])),
        kappa_reader=_kappa(both),
        arms=arms,
    )


def _agreed(both: Read) -> list[tuple[Said, Said]]:
    """Label and reading of the answers on which both passes agree."""
    return [(row.first, said) for row, said in both if row.first == row.second]


def _kappa(both: Read) -> float:
    return _known(kappa_with([said for _, said in both], [_labels(row) for row, _ in both]))


def _known(value: float | None) -> float:
    if value is None:
        raise InputError("agreement is not defined", where=DATA.name, allowed="answers that differ")
    return value


def _labels(row: Validation) -> tuple[Said, Said]:
    return row.first, row.second


def _arm(mine: Read) -> ArmReading:
    told = [_labels(row) for row, _ in mine]
    wrong = Counter(pair for pair in _agreed(mine) if pair[0] != pair[1])
    return ArmReading(
        answers=len(mine),
        labels=plain_mean(net(told)),
        reader=plain_mean(net([(said,) for _, said in mine])),
        shares={str(word): float(share) for word, share in shares(told).mean().items()},
        kappa_reader=_kappa(mine),
        confusion={f"{label} read as {said}": count for (label, said), count in sorted(wrong.items())},
    )


def contrasts(mine: Read, items: Mapping[str, Item]) -> dict[str, dict[str, Spread]]:
    """How far the arms of one model stand apart in net go, -2 to 2: "eager less neutral" → by what → interval.

    Raises: InputError as `powered` and `apart`, so if an arm was not asked an item.
    """
    runs = {arm: _run([each for each in mine if each[0].arm == arm], items) for arm in {row.arm for row, _ in mine}}
    return {f"{one} less {other}": _contrast(runs[one], runs[other]) for one, other in PAIRS}


def _contrast(one: Both, other: Both) -> dict[str, Spread]:
    def by_few(few: Callable[[Sequence[Labelled]], list[Labelled]]) -> Spread:
        return powered(*([(few(labelled), read)] for labelled, read in (one, other)))

    return {
        "labels of all": apart([one[0]], [other[0]]),
        "reader on all": apart([one[1]], [other[1]]),
        "powered, greedy labelled": by_few(lambda rows: _one_an_item(sorted(rows, key=lambda row: row.sample))),
        "powered, any labelled": by_few(_one_an_item),  # the file has them in a mixed order
    }


def _run(mine: Read, items: Mapping[str, Item]) -> Both:
    """The answers of one arm as the statistics take them: with their labels, and as they are read."""
    read = [Answer.to(items[row.item], f"{row.model}.{row.arm}", row.sample, said, row.text) for row, said in mine]
    return [Labelled(**dict(each), labels=_labels(row)) for each, (row, _) in zip(read, mine, strict=True)], read


def _one_an_item(labelled: Sequence[Labelled]) -> list[Labelled]:
    return first_of_each(labelled, lambda row: row.item, 1)


def judge_at(url: str, model: str, concurrency: int) -> JudgeSpec:
    """The server that the command line names. Raises: SpecError."""
    try:
        return JudgeSpec(url=url, model=model, concurrency=concurrency)
    except ValidationError as error:
        first = error.errors()[0]
        raise SpecError(
            "no such server", where=OPTIONS[str(first["loc"][0])], value=first["input"], allowed=first["msg"]
        ) from None


def judged(server: JudgeSpec, rows: Sequence[Validation], items: Mapping[str, Item]) -> list[Said | None]:
    """The label that a judge gives each answer, None where it gives none. Raises: as `replies`."""
    codebook = (ROOT / CODEBOOK).read_text("utf-8").strip()
    turns = [judged_turn(items[row.item], row.text) for row in rows]
    names = {turn: f"answer {number}" for number, turn in enumerate(turns, start=1)}
    wanted = [Wanted(name, codebook, turn, seed=0) for turn, name in names.items()]
    found: dict[str, str | None] = {}
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("judged", total=len(wanted))
        for reply in replies(server, wanted, How(TEMPERATURE, label_of)):
            found[reply.name] = reply.text
            bar.advance(task)
    return [label_of(found[names[turn]] or "") for turn in turns]


def tell_judge(console: Console, rows: Sequence[Validation], read: Sequence[Said], said: Sequence[Said | None]) -> None:
    """Print how far judge and reader agree with the labels, and net go by all three, where the judge gave a label."""
    both = [(row, one, other) for row, one, other in zip(rows, read, said, strict=True) if other is not None]
    console.print(
        f"the judge gave {len(both)} of {len(rows)} answers a label: {dict(Counter(other for *_, other in both))}"
    )
    table = Table("arm", "judged", "agreed", "κ of the judge", "κ of the reader", *(f"net go, {by}" for by in BY))
    for arm in (None, *dict.fromkeys(row.arm for row, *_ in both)):
        mine = [each for each in both if arm in (None, each[0].arm)]
        if not mine:
            continue
        labels = [_labels(row) for row, *_ in mine]
        judge, reader = [other for *_, other in mine], [one for _, one, _ in mine]
        kappas = (kappa_with(judge, labels), kappa_with(reader, labels))
        nets = (net(labels), net([(word,) for word in judge]), net([(word,) for word in reader]))
        counts = (str(len(mine)), str(sum(first == second for first, second in labels)))
        known = ("not known" if each is None else f"{each:.2f}" for each in kappas)
        table.add_row(arm or "all", *counts, *known, *(f"{values.mean():+.2f}" for values in nets))
    console.print(table)


def main() -> int:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reader")
    parser.add_argument("--judge", metavar="URL", help="of a server that speaks the OpenAI chat protocol, with /v1")
    parser.add_argument("--model", metavar="NAME", help="as that server calls it")
    parser.add_argument("--answers", type=int, metavar="N", help="judge the first so many; they stand in a mixed order")
    parser.add_argument("--concurrency", type=int, metavar="N", default=8, help="requests at once")
    told = parsed(parser)
    if (told.judge is None) != (told.model is None):
        parser.error("--judge and --model go together")
    if told.answers is not None and told.answers < 1:
        parser.error("--answers is at least 1")
    if told.judge is not None:
        return ended(lambda: measure_judge(judge_at(told.judge, told.model, told.concurrency), told.answers))
    return ended(measure)


def read_answers() -> tuple[list[Validation], dict[str, Item], list[Said]]:
    """The validation answers, their items by id, and what the reader reads. Raises: InputError."""
    rows = read_jsonl(DATA, Validation)
    items = {item.id: item for item in read_jsonl(ROOT / PILOT_ITEMS, Item)}
    reader = read_reader([ROOT / path for path in READER_FILES])
    return rows, items, reader.read_all([(row.text, items[row.item]) for row in rows])


def measure_judge(server: JudgeSpec, most: int | None) -> int:
    """Hold a judge against the labels of the first so many answers, beside the reader. Raises: as `replies`."""
    rows, items, read = read_answers()
    tell_judge(Console(), rows[:most], read[:most], judged(server, rows[:most], items))
    return int(ExitCode.OK)


def measure() -> int:
    """Read the validation answers and hold the reader against their labels. Raises: InputError."""
    rows, items, read = read_answers()
    found = worth(rows, read)
    RESULT.write_text(json.dumps(found.model_dump(mode="json"), indent=1) + "\n")
    console = Console()
    table = Table(
        "model", "arm", "answers", "net go, labels", "interval", "net go, reader", "κ of the reader", "misread most"
    )
    for model, on in found.models.items():
        for arm, told in on.arms.items():
            bounds = f"{told.labels.low:+.2f} to {told.labels.high:+.2f}"
            values = (
                f"{told.labels.estimate:+.2f}",
                bounds,
                f"{told.reader.estimate:+.2f}",
                f"{told.kappa_reader:.2f}",
                "; ".join(f"{pair} {many}" for pair, many in Counter(told.confusion).most_common(MISREAD)),
            )
            table.add_row(model, arm, str(told.answers), *values)
        console.print(f"{model}: two blind passes over {on.answers} answers: κ {on.kappa_passes:.2f}")
        console.print(f"{model}: reader against the {on.agreed} on which they agree: κ {on.kappa_reader:.2f}")
    console.print(table)
    for model in found.models:
        both = [(row, said) for row, said in zip(rows, read, strict=True) if row.model == model]
        tell_contrasts(console, model, contrasts(both, items))
    return int(ExitCode.OK)


def tell_contrasts(console: Console, model: str, found: Mapping[str, Mapping[str, Spread]]) -> None:
    """Print the contrasts of one model, a line each."""
    columns = next(iter(found.values()))
    table = Table(model, *columns, title="net go, one arm less another, with intervals over topics")
    for name, by in found.items():
        table.add_row(name, *(f"{it.estimate:+.2f} ({it.low:+.2f} to {it.high:+.2f})" for it in by.values()))
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
