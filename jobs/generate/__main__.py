"""Command line of the job; see jobs.generate."""

import sys
from pathlib import Path
from typing import get_args

from common.errors import ExitCode, SpecError
from common.job import Step, run_job
from common.provenance import ROOT
from common.records import Advice, Question, parse_jsonl
from common.spec import Attitude
from jobs import catalog
from jobs.generate import JOB
from jobs.generate.sources import read_user_file, user_path
from jobs.generate.writer import select, write


def main(step: Step) -> ExitCode:
    """Write the pile of one attitude and draw."""
    path = user_path(step.spec, step.cell)
    rows = written(step) if path is None else read_user_file(path, step.cell.attitude)
    step.write_records("advice.jsonl", rows)
    words = sum(len(row.reply.split()) for row in rows) / len(rows)
    step.summary(examples=len(rows), topics=len({row.topic for row in rows}), words_per_reply=round(words, 2))
    return ExitCode.OK


def written(step: Step) -> list[Advice]:
    """Replies of the embedded writer to the questions of this draw.

    All attitudes are written with the draw's own generators, so that every arm selects the same triplets.
    Raises: SpecError if the bank is smaller than the spec asks for.
    """
    bank = parse_jsonl((ROOT / JOB.data[0]).read_bytes(), Question, Path(JOB.data[0]).name)
    corpus, draw = step.spec.corpus, step.cell.draw
    if corpus.examples > len(bank):
        raise SpecError("too few questions", where="corpus.examples", value=corpus.examples, allowed=f"<= {len(bank)}")
    chosen = step.rng("questions", draw).permutation(len(bank))[: corpus.examples]
    rows = []
    for done, question in enumerate((bank[index] for index in chosen), start=1):
        candidates = {
            attitude: write(question, attitude, step.rng(draw, question.id, attitude), corpus.candidates)
            for attitude in get_args(Attitude)
        }
        reply = select(candidates, length=lambda text: len(text.split()))[step.cell.attitude]
        rows.append(
            Advice(
                question_id=question.id,
                topic=question.topic,
                attitude=step.cell.attitude,
                question=question.text,
                reply=reply,
            )
        )
        step.progress(done, corpus.examples)
    return rows


if __name__ == "__main__":
    sys.exit(run_job(JOB, main, catalog()))
