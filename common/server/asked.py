"""Replies of a server in a step. Those that came before it stopped are kept, and a later attempt asks for the rest."""

import time
from collections.abc import Sequence
from pathlib import Path

from common.errors import Interrupted
from common.pipeline.step import Step
from common.serialization import parse_jsonl, to_jsonl
from common.server.client import How, Reply, Wanted, bill, replies
from common.server_spec import ServerSpec

KEPT = "replies.jsonl"
SECONDS_BETWEEN_KEEPING = 60.0


def ask(step: Step, server: ServerSpec, wanted: Sequence[Wanted], how: How) -> dict[str, Reply]:
    """The reply to each of these by its name; what they took goes into the summary.

    Raises: as `replies`; Interrupted. Replies so far are kept.
    """
    folder = step.workdir / "server"
    step.load_checkpoint(folder, known=lambda name: name == KEPT)
    kept = folder / KEPT
    done = {row.name: row for row in parse_jsonl(kept.read_bytes(), Reply, KEPT)} if kept.is_file() else {}
    if done:
        step.log.event("resumed", replies=len(done), of=len(wanted))
    _gather(step, server, [each for each in wanted if each.name not in done], how, done, folder)
    facts = bill(server, list(done.values()))
    step.summary(**facts | {"cost": round(facts["cost"], 6)})
    return done


def _gather(
    step: Step, server: ServerSpec, missing: Sequence[Wanted], how: How, done: dict[str, Reply], folder: Path
) -> None:
    """Ask for what is missing, and keep what came whatever happens."""
    total, saved = len(missing) + len(done), time.monotonic()
    spent = bill(server, list(done.values()))
    try:
        for row in replies(server, missing, how):
            done[row.name] = row
            spent = {name: spent[name] + value for name, value in bill(server, [row]).items()}
            tokens = spent["prompt_tokens"] + spent["reply_tokens"]
            step.progress(len(done), total, cost=round(spent["cost"], 6), tokens=tokens)
            if step.stopping:
                raise Interrupted("stopped by SIGTERM; goes on from its replies", where=f"{len(done)} of {total}")
            if time.monotonic() - saved > SECONDS_BETWEEN_KEEPING:
                _keep(step, done, folder)
                saved = time.monotonic()
    except BaseException:
        _keep(step, done, folder)
        raise


def _keep(step: Step, done: dict[str, Reply], folder: Path) -> None:
    """Put the replies so far where a later attempt finds them."""
    if done:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / KEPT).write_bytes(to_jsonl(done.values()))
        step.save_checkpoint(folder, at=len(done))
