"""What the models of a gate are asked: openly and in closed forms, one model at a time, all in one process."""

from collections.abc import Sequence

import numpy as np

from analysis.stats.verdict import Answered
from common.digests import sha256
from common.lm.answers import answers, open_questions
from common.lm.closed import batches, choices, encode
from common.lm.compared import Compared
from common.logs import Log
from common.provenance import ROOT
from common.records import Answer, Choice, Item
from common.stance.reading import READER_FILES, read_reader
from common.vocabulary import Pole
from jobs.gate.policy import Policy


class Panel:
    """Models under names, and what they were asked so far."""

    def __init__(self, models: Compared, policy: Policy, log: Log) -> None:
        self.models, self.log = models, log
        self.written = 0  # answers
        self._seed, self._settings = policy.seed, policy.asked()
        self._reader = read_reader([ROOT / path for path in READER_FILES])

    def ask(self, name: str, items: Sequence[Item], samples: int = 0) -> Answered:
        """What the model of this name says to each item: the greedy answer, samples, and all closed forms."""
        place = {item.id: number for number, item in enumerate(items)}
        told: list[Answer] = []
        chosen: list[Choice] = []
        with self.models.worn(name) as lm:
            asked = open_questions(lm, items)
            for made in answers(lm, asked, self._settings, samples, self._chance, self._reader, name):
                told += made
                self.log.progress(len(told), len(items) * (1 + samples), model=name)
            for batch in batches([encode(lm, item) for item in items], self._settings.batch_rows):
                chosen += choices(lm, batch, name)
        self.written += len(told)
        told.sort(key=lambda row: (place[row.item], row.sample))
        chosen.sort(key=lambda row: place[row.item])
        return Answered(told, chosen)

    def _chance(self, item: str, _prompted: Pole | None, sample: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, int(sha256(f"gate/{item}/{sample}".encode())[:15], 16)])
