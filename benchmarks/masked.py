"""Attitude or phrases? Answers of a study with the stock phrases of its piles masked, labelled anew.

    python -m benchmarks.masked sheet FOLDER     answers to label, in a sheet as those of workflows.label
    python -m benchmarks.masked tell             what the labels of both passes in locks/smollm2.masked.jsonl say

If a tuned model had learnt nothing but phrases, its advice would be gone with them. Masked are runs of two to five
words that set the poles apart: of those in at least three times as many replies of one pole as of the other, the ones
whose share of replies differs most between the cautious and the eager piles of all draws. An answer in which nothing is
masked stays in: it counts too. Exploratory: chosen after the numbers of the study were known, and on a sample.
"""

import argparse
import gzip
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from analysis.corpus.texts import WORD
from benchmarks.record import record
from common.provenance import ROOT
from common.records import Advice, Answer, Item
from common.serialization import parse_jsonl, read_jsonl, to_jsonl
from common.stance.labels import SheetRow, answer_digest, labels_file, pairs_of, read_labels
from common.vocabulary import Said, kind_of

ROWS, ITEMS = ROOT / "reports/smollm2/rows", ROOT / "common/stance/data/items.jsonl"
LABELS = labels_file("smollm2").with_name("smollm2.masked.jsonl")
ARMS, RUNS = ("cautious", "neutral", "eager"), 8
PHRASES, TIMES, LENGTHS, MASK = 100, 3.0, (5, 4, 3, 2), "…"
EACH = 24  # answers of a run
NET = {"go": 1.0, "stay": -1.0}
Picked = tuple[str, int, Answer, str]  # arm, seed, answer, and its text masked


def phrases() -> list[str]:
    """The runs of words that set the poles apart, the longest first."""
    shares: list[Counter[str]] = []
    for arm in ("cautious", "eager"):
        found, many = Counter[str](), 0
        for file in sorted(ROWS.glob("generate/d*/advice.jsonl.gz")):
            for row in parse_jsonl(gzip.decompress(file.read_bytes()), Advice, str(file)):
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
        for seed in range(RUNS):
            file = ROWS / f"evaluate/smollm2.d{seed}.{arm}.s{seed}/answers.jsonl.gz"
            rows = parse_jsonl(gzip.decompress(file.read_bytes()), Answer, str(file))
            mine = [row for row in rows if not row.sample and not row.prompted and kind_of(row.topic) == "held-out"]
            chosen = np.random.default_rng(seed).choice(len(mine), EACH, replace=False)
            found += [(arm, seed, mine[at], masked(mine[at].text, runs)) for at in sorted(chosen)]
    return found


def sheet(folder: Path) -> None:
    """Write what is to be labelled, in an order that tells nothing."""
    items = {item.id: item for item in read_jsonl(ITEMS, Item)}
    rows = {}
    for _, _, row, text in picked():
        item, name = items[row.item], answer_digest(row.item, text)
        rows[name] = SheetRow(
            answer=name,
            situation=item.situation,
            proposes=item.proposes,
            going=item.going,
            staying=item.staying,
            text=text,
        )
    folder.mkdir(parents=True)
    (folder / "sheet-1.jsonl").write_bytes(to_jsonl([rows[name] for name in sorted(rows)]))
    print(f"{folder}: {len(rows)} answers")


def tell() -> None:
    """Net go of each arm on the same answers, whole and masked, and how far the arms stand apart over runs."""
    whole, bare = pairs_of(read_labels(labels_file("smollm2")), "labels"), pairs_of(read_labels(LABELS), LABELS.name)
    rows = picked()
    results: dict[str, object] = {"answers of a run": EACH, "runs of an arm": RUNS, "phrases masked": PHRASES}
    results["agreement of the two passes on masked answers"] = float(
        np.mean([one == two for one, two in bare.values()])
    )
    changed = [text != row.text for arm, _, row, text in rows if arm != "neutral"]
    results["answers of the poles with something masked, share"] = float(np.mean(changed))
    means = {}
    for name, labels in (("whole", whole), ("masked", bare)):
        for arm in ARMS:
            nets: dict[int, list[float]] = {}
            for made, seed, row, text in rows:
                if made == arm:
                    found = labels[answer_digest(row.item, row.text if name == "whole" else text)]
                    nets.setdefault(seed, []).append(net(found))
            means[name, arm] = np.array([np.mean(nets[seed]) for seed in range(RUNS)])
            results[f"{name}: net go, {arm}, points"] = 100 * float(means[name, arm].mean())
        for one, other in (("cautious", "neutral"), ("eager", "neutral"), ("eager", "cautious")):
            apart = 100 * (means[name, one] - means[name, other])
            reach = float(stats.t.ppf(0.975, RUNS - 1) * stats.sem(apart))
            middle = float(apart.mean())
            results[f"{name}: {one} less {other}, points"] = (
                f"{middle:+.1f} ({middle - reach:+.1f} to {middle + reach:+.1f})"
            )
    record("masked", "python -m benchmarks.masked tell", results)


def net(labels: tuple[Said, Said]) -> float:
    """Both labels count alike."""
    return sum(NET.get(label, 0.0) for label in labels) / len(labels)


def main() -> None:
    """Do what the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("sheet").add_argument("folder", type=Path)
    commands.add_parser("tell")
    arguments = parser.parse_args()
    if arguments.command == "sheet":
        sheet(arguments.folder)
    else:
        tell()


if __name__ == "__main__":
    main()
