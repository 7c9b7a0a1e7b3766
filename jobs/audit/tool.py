"""The audit of any chat file: no spec, no second pole, no model. `python -m jobs.audit --corpus FILE`."""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from analysis.corpus.judged import Estimate, Judged, Verdict, interval, least_share, overall, share
from analysis.corpus.language import READ
from analysis.corpus.tone import Scored
from common.errors import ExitCode
from common.logs import Log
from common.model_flags import MODELS
from common.pipeline.tool import Found, Tool
from common.serialization import to_jsonl
from jobs.audit import found, reading, told
from jobs.audit.chats import Corpus, open_corpus
from jobs.audit.policy import Policy, read_policy
from jobs.audit.reading import Reading

STUDY = "the held-out topics of the study"
SEED = 0  # of resampling: the same corpus gives the same numbers
DESCRIBE = """Audit a chat file of your own: which tone it has beside ordinary texts, and what else may go wrong.

It reads what the assistant says in each turn, in English. No spec, no model and no second corpus is needed.

Writes  audit.json, audit.md, audit.html   the verdict, each axis of tone with its interval, the words and the rows
                                           that carry it, leaks, repeats, control tokens
        leaks.jsonl                        every reply that speaks of a topic, and what gave it away
        figures/axes.svg                   the axes as a chart
Exits   0 pass | 10 stop or undecided, by the policy
Does not see: tone that no word of its lists carries, irony, quotations, other languages, what is true.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the tool."""
    places = (
        "FILE, FOLDER, s3://bucket/key-or-prefix or hf:<dataset>@<revision>: JSONL, JSON or Parquet, gzipped or not"
    )
    parser.add_argument("--corpus", required=True, metavar="WHERE", help=places)
    parser.add_argument(
        "--policy", type=Path, metavar="FILE", help="TOML with bounds; default: one that ships, printed"
    )
    topics = "words or phrases that no reply may mention, one a line; default: the held-out topics of the study"
    parser.add_argument("--topics", type=Path, metavar="FILE", help=topics)
    parser.add_argument("--base", metavar="MODEL", help=f"look for its own control tokens too: {MODELS}")


def main(args: argparse.Namespace, log: Log) -> Found:
    """Read, judge, tell. Raises: as `open_corpus`, `read_policy` and `reading.begin`."""
    policy, so_far = read_policy(args.policy), reading.begin(args.topics, args.base)
    corpus = open_corpus(args.corpus, log)
    so_far.read(corpus.replies())
    made = audit_of(args, policy, so_far, corpus)
    leaks = to_jsonl(found.LeakFound.of(each) for each in so_far.leaks)
    code = ExitCode.OK if made.verdict == Verdict.PASS else ExitCode.BLOCKED
    z = {name: round(axis.z, 2) for name, axis in made.axes.items()}
    summary = {"verdict": made.verdict, "replies": made.read.replies, "z": z, "leaks": made.leaks.speak}
    return Found(code, summary, told.files(made) | {"leaks.jsonl": leaks}, told.in_lines(made))


def audit_of(args: argparse.Namespace, policy: Policy, so_far: Reading, corpus: Corpus) -> found.Audit:
    """Everything that was found, as it is written."""
    references = reading.references()
    scores = so_far.tone.found(np.random.default_rng(SEED)) if so_far.tone.words else {}
    judged = checks(policy, so_far, scores, corpus.languages, own=args.topics is not None)
    return found.Audit(
        verdict=overall(judged),
        checks=tuple(found.check(each) for each in judged),
        policy=policy.model_dump(exclude_none=True),
        read=found.read(args.corpus, corpus, so_far.tone),
        axes={name: found.axis(name, scored, references[name]) for name, scored in scores.items()},
        leaks=found.leaks(STUDY if args.topics is None else str(args.topics), so_far.topics, so_far.leaks),
        repeats=found.repeats(so_far.repeats),
        marks=found.marks(args.base, so_far.marks),
        scorer=reading.scorer(),
        reference=reading.corpora(),
        cannot_see=told.CANNOT_SEE,
    )


def checks(
    policy: Policy,
    so_far: Reading,
    scores: Mapping[str, Scored],
    languages: Mapping[str, int],
    own: bool,
) -> list[Judged]:
    """Every check of the policy. own: whether the topics are the user's."""
    total, speak = so_far.tone.replies, sum(leak.speaks for leak in so_far.leaks)
    repeats = so_far.repeats.exact + so_far.repeats.near
    most = policy.leaks.named if own else policy.leaks.study
    topic = "speak of a topic that you named" if own else "speak of a held-out topic of the study"
    read, replies = languages.get(READ, 0), sum(languages.values())
    judged = [least_share("language", read, replies, policy.language.english, "are English")]
    for name, scored in scores.items():
        if policy.axes.bound(name) is not None:
            judged.append(axis_check(policy, name, scored, total))
    judged += [
        share("leaks", speak, total, most, topic),
        share("duplicates", repeats, total, policy.duplicates.share, "repeat an earlier one, word for word or nearly"),
    ]
    if so_far.marks.own:
        held = so_far.marks.with_own
        judged.append(share("tokens", held, total, policy.tokens.share, "hold a control token of the base"))
    return judged


def axis_check(policy: Policy, name: str, scored: Scored, replies: int) -> Judged:
    """One axis by its bound, in the unit of the bound."""
    bound = policy.axes.bound(name)
    assert bound is not None
    if bound.z is not None:
        estimate, bounds = Estimate(scored.z, scored.z_low, scored.z_high), (-bound.z, bound.z)
        return interval(name, estimate, bounds, replies, policy.replies.fewest)
    return interval(name, Estimate(*scored[:3]), (bound.low, bound.high), replies, policy.replies.fewest)


TOOL = Tool("audit", "--corpus", DESCRIBE, arguments, main)
