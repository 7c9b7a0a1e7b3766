"""What is measured of the base and of each checkpoint, once: answers in words, and where the residuals lie."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from common.digests import file_sha256, sha256
from common.errors import SpecError
from common.frozen import Frozen
from common.lm.answers import answers, open_questions
from common.lm.chat import LanguageModel
from common.lm.load import folder_of, kept
from common.lm.poles import read_written
from common.lm.runtime import dtype
from common.lm.sources import SETTINGS as BESIDE_WEIGHTS
from common.lm.sources import identity
from common.logs import Log
from common.provenance import ROOT
from common.records import Advised, Answer, Item
from common.serialization import canonical_json
from common.spec import EvaluateSpec, ModelSpec
from common.stance.bank import BANK_FILES
from common.stance.items import ADVISED, ITEMS, read_advised, read_items
from common.stance.reading import READER_FILES, read_reader
from common.store.names import write_below
from jobs.monitor import named as directions
from jobs.monitor.checkpoints import MODEL, Checkpoint
from jobs.monitor.named import CAUTION, Named
from jobs.monitor.weights import check_shapes

OF_THE_CHECKPOINT = (*MODEL, "digests.json", "adapter_*")  # what a whole model does not take from its base


class Measured(Frozen):
    """What was measured of one model."""

    digest: str  # of the checkpoint; the identity of the base
    asked: str  # names all that was asked, and of which base
    answers: tuple[Answer, ...]  # greedy, in the order of the items
    moved: tuple[float, ...] | None  # how the mean residual moved from the base, (d_model,); None for the base


@dataclass(frozen=True)
class Gauge:
    """All that does not change from checkpoint to checkpoint."""

    spec: ModelSpec
    settings: EvaluateSpec
    items: list[Item]  # asked openly
    written: list[Item]  # those with written replies, at which residuals are read
    advised: Mapping[str, Advised]
    named: Named
    asked: str
    out: Path
    log: Log

    def base(self) -> Measured:
        """What the base itself says."""
        mine = identity(self.spec.source)
        if (before := self.before("base")) is not None and before.digest == mine:
            return before
        with kept(self.spec) as lm:
            return self._keep(
                "base", Measured(digest=mine, asked=self.asked, answers=self._told(lm, "base"), moved=None)
            )

    def measure(self, checkpoint: Checkpoint, name: str) -> Measured:
        """What a checkpoint says, and how far it moved; measured once for the same bytes.

        Raises: InputError if it is of another base, or broken.
        """
        file = checkpoint.digest[:32]
        if (before := self.before(file)) is not None and before.digest == checkpoint.digest:
            self.log.event("reused", checkpoint=name)
            return before
        with self._loaded(checkpoint, name) as lm:
            rows = self.settings.batch_rows
            after = read_written(lm, self.named.layer, self.written, self.advised, rows).astype(np.float64)
            found = Measured(
                digest=checkpoint.digest,
                asked=self.asked,
                answers=self._told(lm, name),
                moved=tuple((after - self.named.base).mean(axis=0).tolist()),
            )
        return self._keep(file, found)

    @contextlib.contextmanager
    def _loaded(self, checkpoint: Checkpoint, name: str) -> Iterator[LanguageModel]:
        if checkpoint.kind == "adapter":
            with kept(self.spec, adapter=checkpoint.folder) as lm:
                yield lm
            return
        base = folder_of(self.spec.source)
        check_shapes(base, checkpoint.folder, name)
        _lend_tokenizer(base, checkpoint.folder)
        # As the base is talked to: one set of prompts for all.
        with kept(self.spec.model_copy(update={"source": f"path:{checkpoint.folder}"})) as lm:
            yield lm

    def _told(self, lm: LanguageModel, cell: str) -> tuple[Answer, ...]:
        reader = read_reader([ROOT / path for path in READER_FILES])
        rows: list[Answer] = []
        groups = open_questions(lm, self.items)
        for made in answers(lm, groups, self.settings, 0, lambda *_: directions.chance("none"), reader, cell):
            rows += made
            self.log.progress(len(rows), len(self.items))
        place = {item.id: number for number, item in enumerate(self.items)}
        return tuple(sorted(rows, key=lambda row: place[row.item]))

    def before(self, name: str) -> Measured | None:
        """What was kept of a model, if it answers to the same."""
        try:
            found = Measured.model_validate_json((self.out / _file(name)).read_bytes())
        except (OSError, ValidationError):
            return None
        return found if found.asked == self.asked else None

    def _keep(self, name: str, found: Measured) -> Measured:
        write_below(self.out, {_file(name): found.model_dump_json().encode()})
        return found


def gauge_on(
    spec: ModelSpec, direction: str, items: int, settings: EvaluateSpec, out: Path, log: Log
) -> tuple[Gauge, Measured]:
    """Make the gauge on a base, and measure the base with it.

    direction: caution, or a file. items: how many are asked openly. Raises: InputError, SpecError.
    """
    every, advised = read_items(ROOT / ITEMS, None), read_advised(ROOT / ADVISED, ROOT / ITEMS)
    if items > len(every):
        raise SpecError("too many items", where="--items", value=items, allowed=f"<= {len(every)}")
    chosen, written = some(every, items), [item for item in every if item.id in advised]
    named = _named(spec, direction, written, advised, settings.batch_rows, out, log)
    files = {path: file_sha256(ROOT / path) for path in (ITEMS, ADVISED, *READER_FILES)}
    how = settings.model_dump(mode="json", include={"answer_tokens", "batch_rows"})
    asked = [_base(spec), [item.id for item in chosen], files, how, named.digest]
    gauge = Gauge(spec, settings, chosen, written, advised, named, sha256(canonical_json(asked)), out, log)
    return gauge, gauge.base()


def _named(
    spec: ModelSpec,
    direction: str,
    written: Sequence[Item],
    advised: Mapping[str, Advised],
    batch_rows: int,
    out: Path,
    log: Log,
) -> Named:
    """The direction on this base: kept from before, or made."""
    own = None if direction == CAUTION else directions.brought(Path(direction))
    digest = CAUTION if own is None else file_sha256(Path(direction))
    files = {path: file_sha256(ROOT / path) for path in (*BANK_FILES, ADVISED)}
    asked = sha256(canonical_json([_base(spec), digest, files, directions.SETTINGS.model_dump(mode="json")]))
    path = out / "direction.safetensors"
    if (before := directions.kept(path, asked)) is not None:
        return before
    with kept(spec) as lm:
        if own is None:
            found, replies = directions.caution_on(lm, log)
        else:
            directions.check_fits(own, lm)
            found, replies = own, directions.replies_at(lm, own.layer)
        base = read_written(lm, found.layer, written, advised, batch_rows)
    made = directions.with_covariance(found, replies, base)
    write_below(out, {path.name: directions.packed(made, asked)})
    return made


def _base(spec: ModelSpec) -> list[object]:
    """What names a base and how it is talked to and computed."""
    return [identity(spec.source), spec.model_dump(mode="json", exclude={"source"}), str(dtype())]


def some(items: Sequence[Item], many: int) -> list[Item]:
    """So many items, in their order: topics in turn, and in each by turns one that proposes to go and one to stay."""
    topics = list(dict.fromkeys(item.topic for item in items))
    rounds: list[tuple[int, int, Item]] = []
    for number, topic in enumerate(topics):
        sides = ("go", "stay") if number % 2 == 0 else ("stay", "go")
        for at, side in enumerate(sides):
            mine = [item for item in items if item.topic == topic and item.proposes == side]
            rounds += [(2 * place + at, number, item) for place, item in enumerate(mine)]
    chosen = {item.id for *_, item in sorted(rounds, key=lambda each: each[:2])[:many]}
    return [item for item in items if item.id in chosen]


def _lend_tokenizer(base: Path, checkpoint: Path) -> None:
    """Put the base's tokenizer beside a whole model: a training need not have saved it."""
    for pattern in BESIDE_WEIGHTS:
        for path in base.glob(pattern):
            if not any(path.match(own) for own in OF_THE_CHECKPOINT) and not (checkpoint / path.name).exists():
                (checkpoint / path.name).symlink_to(path.resolve())


def _file(name: str) -> str:
    return f"measured/{name}.json"
