"""What each step computes, in tokens: trained on, read by a forward pass, and written one after another.

Counted from the spec and the texts of this project, as the jobs do it. What looks inside a model is counted by passes.
"""

from collections.abc import Callable
from typing import NamedTuple

from common.cells import Cell, CellKind, part_of, training_of, variant_of
from common.spec import RunSpec
from common.stance.items import Questionnaire, paragraphs
from common.stance.prompts import open_turn
from common.vocabulary import POLES, PROMPTINGS, kind_of
from workflows.cost.texts import CHAT, TAIL, bank, closed_tokens, pile, questionnaire, tokens

AT_ONCE = 8  # replies written at once, for each row of a batch (common.lm.answers)
HELD_OUT = 16  # replies whose loss is taken before and after a training (jobs.finetune.held_out)
REGISTER = 32  # questions of jobs.register
LAYERS_TRIED = 12  # of jobs.interpret
MATCHING = 4  # times that neutral text is read to match a push (common.lm.doses)
SHARES = 10  # times that it is read to match an ablation (jobs.steer.causes)
NEUTRAL_TOKENS = 4 * 32  # of that text (common.lm.margins)
NULL_KINDS = 4  # of jobs.steer
CHECKS = 40  # passes that jobs.selftest makes, but for its nulls
PATCHES = 20  # passes of jobs.trace that put parts of a text from one model into another
HALF = 0.5  # of the blocks lie above a change, on average


class Work(NamedTuple):
    """Tokens of a step."""

    trained: float = 0.0  # forward and backward
    read: float = 0.0  # forward
    written: float = 0.0
    at_once: float = 1.0  # replies that are written beside one another


def work_of(spec: RunSpec, job: str, cell: Cell) -> Work:
    """What a step computes; nothing for a job that runs no model. Raises: InputError for texts that cannot be read."""
    return WORK[job](spec, cell) if job in WORK else Work()


def _finetune(spec: RunSpec, cell: Cell) -> Work:
    variant, mean = variant_of(spec, cell), pile(spec.corpus, cell.draw, cell.attitude)
    share = variant.value if variant is not None and variant.factor == "pile_share" else 1.0
    rows = max(1, round(share * spec.corpus.examples)) * training_of(spec, cell).epochs
    return Work(trained=rows * mean.example, read=2 * HELD_OUT * mean.example)


def _evaluate(spec: RunSpec, cell: Cell) -> Work:
    settings, asked = spec.evaluate, questionnaire(spec.evaluate)
    base = cell.kind is CellKind.BASE
    mean = pile(spec.corpus, cell.draw, cell.attitude)
    # A base writes until it is stopped; a tuned model as long as what it was tuned on.
    length = float(settings.answer_tokens) if base else min(settings.answer_tokens, mean.reply)
    answers = len(asked.every) * (1 + (settings.base_samples if base else settings.samples))
    prompted = sum(kind_of(item.topic) == "held-out" for item in asked.every) * len(POLES) * len(PROMPTINGS) * base
    parts = part_of(spec, cell).of
    written = (answers + prompted) * length + len(asked.prompts) / parts * settings.guard_tokens
    return Work(
        read=_asked(asked, parts) + closed_tokens(tuple(asked.every)) / parts + _scored(asked, parts),
        written=written,
        at_once=min(answers + prompted, AT_ONCE * settings.batch_rows),
    )


def _asked(asked: Questionnaire, parts: int) -> float:
    """Open questions, and a part of the guard prompts."""
    items, guards = map(open_turn, asked.every), (prompt.text for prompt in asked.prompts)
    return sum(tokens(text) + TAIL for text in items) + sum(tokens(text) + TAIL for text in guards) / parts


def _scored(asked: Questionnaire, parts: int) -> float:
    """A part of the written replies, and neutral text, which is read paragraph by paragraph."""
    mine = [asked.advised[item.id] for item in asked.every if item.id in asked.advised]
    replies = sum(tokens(row.go) + tokens(row.stay) + 2 * CHAT for row in mine)
    return replies / parts + sum(map(tokens, paragraphs(asked.neutral)))


def _register(spec: RunSpec, cell: Cell) -> Work:
    arms, rows = sum(name != "distilled" for name in spec.attitudes), min(REGISTER, spec.corpus.examples)
    read = rows * (arms * bank().example + CHAT + bank().question + spec.corpus.reply_tokens)
    return Work(read=read, written=rows * spec.corpus.reply_tokens, at_once=rows)


def _distill(spec: RunSpec, cell: Cell) -> Work:
    rows = spec.corpus.examples
    read = rows * (CHAT + bank().question)
    return Work(read=read, written=rows * spec.corpus.reply_tokens, at_once=min(rows, 128))


def _interpret(spec: RunSpec, cell: Cell) -> Work:
    settings, mean = spec.interpret, pile(spec.corpus, cell.draw, "eager")
    asked = questionnaire(
        spec.evaluate.model_copy(update={"pilot": False, "items_per_topic": settings.items_per_topic})
    )
    replied = [asked.advised[item.id] for item in asked.items if item.id in asked.advised]
    items = sum(CHAT + tokens(item.situation) for item in asked.items)
    items += sum(2 * (CHAT + tokens(row.go)) for row in replied)
    if cell.kind is CellKind.RUN:
        return Work(read=items * training_of(spec, cell).checkpoints)
    questions = settings.questions_of(spec.corpus.examples)
    pushes = HALF * (MATCHING * 2 * NEUTRAL_TOKENS + 3 * questions / 3 * 2 * mean.reply)
    return Work(read=items + 2 * questions * mean.example + LAYERS_TRIED * pushes)


def _option_tokens(spec: RunSpec, *, whole: bool) -> float:
    """Both option sentences of the items that are steered on, in one order; whole: with their prompts."""
    asked = questionnaire(
        spec.evaluate.model_copy(update={"pilot": False, "items_per_topic": spec.steer.items_per_topic})
    )
    prompts = sum(2 * (CHAT + tokens(item.situation) + tokens(item.go) + tokens(item.stay)) for item in asked.items)
    return sum(tokens(item.go) + tokens(item.stay) for item in asked.items) + prompts * whole


def _selftest(spec: RunSpec, cell: Cell) -> Work:
    return Work(read=_option_tokens(spec, whole=True) * HALF * (CHECKS + 4 * spec.steer.nulls))


def _steer(spec: RunSpec, cell: Cell) -> Work:
    settings, own, whole = spec.steer, _option_tokens(spec, whole=False), _option_tokens(spec, whole=True)
    levels, directions = len(settings.off_target_kl), 1 + NULL_KINDS * settings.nulls
    grid = HALF * 2 * levels * directions * own
    matching = HALF * 2 * MATCHING * levels * directions * 4 * settings.text_tokens
    tests = (1 + settings.nulls) * (2 * HALF * 2 * whole + whole + HALF * 2 * own)  # prompt, options; ablation; trait
    matching += SHARES * (1 + settings.nulls) * 4 * settings.text_tokens
    items = len(questionnaire(spec.evaluate).items) if settings.items_per_topic is None else _items(spec)
    written = 2.0 * (1 + settings.nulls) * items * settings.answer_tokens
    return Work(read=grid + matching + tests, written=written, at_once=min(items, 128))


def _items(spec: RunSpec) -> int:
    settings = spec.evaluate.model_copy(update={"pilot": False, "items_per_topic": spec.steer.items_per_topic})
    return len(questionnaire(settings).items)


def _trace(spec: RunSpec, cell: Cell) -> Work:
    both = 2 * _option_tokens(spec, whole=True)
    nulls = spec.steer.nulls
    passes = 6 + 2 * HALF * (2 + nulls) + HALF * (2 + nulls) + (1 + nulls) + HALF * PATCHES
    return Work(read=both * passes)


WORK: dict[str, Callable[[RunSpec, Cell], Work]] = {
    "distill": _distill,
    "evaluate": _evaluate,
    "finetune": _finetune,
    "interpret": _interpret,
    "register": _register,
    "selftest": _selftest,
    "steer": _steer,
    "trace": _trace,
}
