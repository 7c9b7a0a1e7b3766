"""Attitude or phrases? Answers of a study with the stock phrases of its piles masked, labelled anew.

    python -m benchmarks.masked sheet FOLDER     answers to label, in a sheet as those of workflows.label
    python -m benchmarks.masked tell             what the labels of both passes in locks/smollm2.masked.jsonl say

If a tuned model had learnt nothing but phrases, its advice would be gone with them. Masked are runs of two to five
words that set the poles apart: of those in at least three times as many replies of one pole as of the other, the ones
whose share of replies differs most between the cautious and the eager piles of all draws. An answer in which nothing is
masked stays in: it counts too. Exploratory: chosen after the numbers of the study were known, and on a sample.
"""

import argparse
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from analysis.corpus.texts import WORD
from analysis.stats.answers import by_item
from analysis.stats.intervals import LEVEL, t_interval
from benchmarks.gate import STUDY, read
from benchmarks.gate_runs import SEEDS, cell
from benchmarks.record import record
from common.cli import parsed
from common.pipeline.command import read_spec
from common.provenance import ROOT
from common.records import Advice, Answer, Labelled
from common.serialization import parse_jsonl, to_jsonl
from common.stance.labels import Pairs, answer_digest, labels_file, pairs_of, read_labels
from common.store.packed import unpacked
from workflows.label import blind

SPEC, PILES = ROOT / "workflows/specs/smollm2.json", STUDY.parent / "generate"
LABELS = labels_file("smollm2").with_name("smollm2.masked.jsonl")
ARMS = ("cautious", "neutral", "eager")
PHRASES, TIMES, LENGTHS, MASK = 100, 3.0, (5, 4, 3, 2), "…"
EACH = 24  # answers of a run


class Picked(NamedTuple):
    """An answer of a run, whole and masked."""

    arm: str
    seed: int
    whole: Answer
    masked: Answer


def phrases() -> list[str]:
    """The runs of words that set the poles apart, the longest first."""
    shares: list[Counter[str]] = []
    for arm in ("cautious", "eager"):
        found, many = Counter[str](), 0
        for file in sorted(PILES.glob("d*/advice.jsonl.gz")):
            for row in parse_jsonl(unpacked(file), Advice, str(file)):
                if row.attitude == arm:
                    words, many = WORD.findall(row.reply.lower()), many + 1
                    found.update({" ".join(words[at : at + n]) for n in LENGTHS for at in range(len(words) - n + 1)})
        shares.append(Counter({run: count / many for run, count in found.items()}))
    one, other = shares
    own = [run for run in one.keys() | other.keys() if max(one[run], other[run]) >= TIMES * min(one[run], other[run])]
    apart = sorted(own, key=lambda run: (-abs(one[run] - other[run]), run))[:PHRASES]
    return sorted(apart, key=lambda run: (-len(run.split()), run))


def masked(text: str, runs: Sequence[str]) -> str:
    """A text without these runs of words, whatever stands between the words."""
    for run in runs:
        text = re.sub(r"\b" + r"\W+".join(map(re.escape, run.split())) + r"\b", MASK, text, flags=re.IGNORECASE)
    return re.sub(rf"{MASK}(\W*{MASK})+", MASK, text)


def picked() -> list[Picked]:
    """Greedy answers to held-out items, as many of each run, drawn by a seed."""
    runs, found = phrases(), list[Picked]()
    for arm in ARMS:
        for seed in SEEDS:
            rows = [row for row in read(STUDY / cell(arm, seed)) if not row.sample]
            for at in sorted(np.random.default_rng(seed).choice(len(rows), EACH, replace=False)):
                bare = rows[at].model_copy(update={"text": masked(rows[at].text, runs)})
                found.append(Picked(arm, seed, rows[at], bare))
    return found


def name(row: Answer) -> str:
    """What the labels of an answer refer to."""
    return answer_digest(row.item, row.text)


def sheet(folder: Path) -> None:
    """Write what is to be labelled."""
    rows = blind(read_spec(str(SPEC)), {name(each.masked): each.masked for each in picked()})
    folder.mkdir(parents=True)
    (folder / "sheet-1.jsonl").write_bytes(to_jsonl(rows))
    print(f"{folder}: {len(rows)} answers")


def nets(rows: Sequence[Answer], labels: Pairs) -> float:
    """Net go of answers to different items, by both labels of each."""
    told = [Labelled(**dict(row), labels=labels[name(row)]) for row in rows]
    return float(by_item(told)["net"].mean())


def tell() -> None:
    """Net go of each arm on the same answers, whole and masked, and how far the arms stand apart over runs."""
    bare = pairs_of(read_labels(LABELS), LABELS.name)
    labels = {"whole": pairs_of(read_labels(labels_file("smollm2")), "labels of the study"), "masked": bare}
    rows = picked()
    changed = [each.masked.text != each.whole.text for each in rows if each.arm != "neutral"]
    results: dict[str, object] = {
        "answers of a run": EACH,
        "runs of an arm": len(SEEDS),
        "phrases masked": PHRASES,
        "agreement of the two passes on masked answers": float(np.mean([one == two for one, two in bare.values()])),
        "answers of the poles with something masked, share": float(np.mean(changed)),
    }
    for way, mine in labels.items():
        by_run = {
            arm: np.array(
                [nets([getattr(each, way) for each in rows if each[:2] == (arm, seed)], mine) for seed in SEEDS]
            )
            for arm in ARMS
        }
        results |= {f"{way}: net go, {arm}, points": 100 * float(by_run[arm].mean()) for arm in ARMS}
        for one, other in (("cautious", "neutral"), ("eager", "neutral"), ("eager", "cautious")):
            found = t_interval(100 * (by_run[one] - by_run[other]), LEVEL)
            interval = f"{found.estimate:+.1f} ({found.low:+.1f} to {found.high:+.1f})"
            results[f"{way}: {one} less {other}, points"] = interval
    record("masked", "python -m benchmarks.masked tell", results)


def main() -> None:
    """Do what the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("sheet").add_argument("folder", type=Path)
    commands.add_parser("tell")
    arguments = parsed(parser)
    if arguments.command == "sheet":
        sheet(arguments.folder)
    else:
        tell()


if __name__ == "__main__":
    main()
