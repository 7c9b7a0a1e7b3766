"""What sets the arms of a corpus apart besides the attitude, and where the attitude can be read. Texts in, numbers out.

Arms answer the same questions, so everything is compared by question, and questions are what intervals resample.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.sparse import csr_matrix, vstack
from scipy.spatial.distance import jensenshannon
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from analysis.corpus.checks import Arms, Check
from analysis.corpus.leakage import Canary, find_held_out, find_maxims
from analysis.corpus.texts import ANECDOTE, HEDGE, WORD, flesch, sentences
from analysis.stats.intervals import LEVEL, t_interval
from common.errors import InputError
from common.records import Advice, Item
from common.vocabulary import WRITTEN

Floats = NDArray[np.float64]
FEWEST_QUESTIONS = 10  # below, a held-out fifth is one question and no AUC means anything
FOLDS = 5
RESAMPLES = 1000
SPLITS = 20
NEAR = 0.8  # Jaccard similarity of word 5-grams from which two replies count as one
SHINGLE = 5
ROWS_AT_ONCE = 512
MOST_LENGTH_SHIFT = 0.02
LEAST_SD_RATIO = 0.9  # so at most 1.1 the other way round
SURELY = 0.001  # chance below which a sample of a pile that keeps a bound would look like this one
DIMENSIONS = 50  # of the embedding, three for each training topic
PARTS = ("all", "masked", "content", "function", "first_sentence")


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % interval over questions."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Length:
    """How the lengths of two arms compare, question by question."""

    shift: Figure  # mean difference, first minus second, over the mean length of both
    apart: float  # mean absolute difference of a question's two replies, over the mean length of both
    sd_ratio: float  # smaller over larger SD
    ks: float  # two-sample Kolmogorov-Smirnov distance, 0 to 1


Lengths = Mapping[str, Mapping[str, Length]]  # unit (words, or a student's tokens) → pair of arms


@dataclass(frozen=True)
class Pair:
    """How the words of two arms compare."""

    centroid_cosine: float  # of the mean embeddings: 1 when the arms speak of the same things
    jsd: float  # Jensen-Shannon divergence of content words, bits
    jsd_ratio: float  # the same from different halves of the questions, over that of one arm's own halves


class Poles(NamedTuple):
    """Scores of every reply by models that have not seen its question: positive is eager. Arrays: (n_questions,)."""

    scores: Mapping[str, Floats]
    auc: Figure  # of cautious against eager
    neutral: Figure | None  # where neutral stands: 0 at cautious, 1 at eager; None without such an arm


def check_same_questions(arms: Arms) -> None:
    """Refuse arms that cannot be compared.

    Raises: InputError for an empty arm, one question answered twice, a row of another arm, other questions than the
    first arm's, or too few of them; naming the arm and the line or the question.
    """
    (first, rows), *others = arms.items()
    for name, mine in arms.items():
        _check_arm(name, mine)
    ids = {row.question_id for row in rows}
    for name, mine in others:
        if differs := sorted(ids ^ {row.question_id for row in mine}):
            value = f"{len(differs)} only in one of them, first {differs[0]}"
            raise InputError("arms answer different questions", where=f"{first} and {name}", value=value)
    if len(ids) < FEWEST_QUESTIONS:
        raise InputError("too few questions to audit", where=f"arm {first}", value=len(ids), allowed=">= 10")


def topic(arms: Arms) -> Check:
    """Whether every arm was asked the same words. Value: share of question ids with one text in all arms."""
    texts: dict[str, set[str]] = {}
    for rows in arms.values():
        for row in rows:
            texts.setdefault(row.question_id, set()).add(row.question)
    share = float(np.mean([len(known) == 1 for known in texts.values()]))
    return Check("topic", share, 1.0, share == 1.0, "share of questions with one text in all arms; must be all")


def subject(pairs: Mapping[str, Pair]) -> Check:
    """Whether replies speak of the same things. Value: the smallest cosine of two arms' mean embeddings."""
    name, worst = min(pairs.items(), key=lambda item: item[1].centroid_cosine)
    value = worst.centroid_cosine
    return Check("subject", value, 0.98, value > 0.98, f"cosine of the arms' mean embeddings, worst of {name}")


def compare(arms: Arms, everyday: Sequence[str], rng: np.random.Generator) -> dict[str, Pair]:
    """The words of every two arms side by side, by the name "<first>-<second>".

    everyday: texts on the topics, of no attitude. Raises: InputError if an arm has no content word.
    """
    replies = {name: _replies(rows) for name, rows in arms.items()}
    cosines = _centroid_cosines(replies, everyday)
    content = _counts({name: [_part(text, "content") for text in texts] for name, texts in replies.items()})
    return {
        f"{a}-{b}": Pair(cosines[a, b], *_divergence(content[a], content[b], rng)) for a, b in combinations(arms, 2)
    }


def lengths(arms: Arms, counters: Mapping[str, Callable[[str], int]]) -> dict[str, dict[str, Length]]:
    """Lengths of every two arms side by side: in words, and by each counter (a student's tokens)."""
    units: dict[str, Callable[[str], int]] = {"words": lambda text: len(text.split()), **counters}
    replies = {name: _replies(rows) for name, rows in arms.items()}
    found = {}
    for unit, count in units.items():
        counted = {name: np.array([count(text) for text in texts], dtype=float) for name, texts in replies.items()}
        found[unit] = {f"{a}-{b}": _length(counted[a], counted[b]) for a, b in combinations(arms, 2)}
    return found


def length(found: Lengths, questions: int) -> Check:
    """Whether length tells arms apart, in any student's tokens. Value: largest shift of a mean over length.

    Words are told beside them and judged only where there is no student: a student sees its tokens. questions: in an
    arm. A draw is a sample of a pile: its spreads fail only where they differ by more than chance (F test).
    """
    students = {unit: mine for unit, mine in found.items() if unit != "words"} or found
    each = {f"{pair} in {unit}": made for unit, mine in students.items() for pair, made in mine.items()}
    name = max(each, key=lambda name: abs(each[name].shift.estimate))
    value = abs(each[name].shift.estimate)
    ratio, distance = min(made.sd_ratio for made in each.values()), max(made.ks for made in each.values())
    detail = (
        f"difference of two arms' means over length, worst of {name}; smaller over larger SD {ratio:.3f}, at least "
    )
    detail += f"{LEAST_SD_RATIO}; Kolmogorov-Smirnov distance {distance:.3f}"
    chance = float(stats.f.cdf((ratio / LEAST_SD_RATIO) ** 2, questions - 1, questions - 1))
    passed = value <= MOST_LENGTH_SHIFT and chance >= SURELY
    return Check("length", value, MOST_LENGTH_SHIFT, passed, detail)


def vocabulary(pairs: Mapping[str, Pair]) -> Check:
    """Whether arms draw on the same content words. Value: largest divergence over that of one arm's own halves."""
    name, worst = max(pairs.items(), key=lambda item: item[1].jsd_ratio)
    detail = f"divergence of content words over that of one arm's own halves, worst of {name}"
    return Check("vocabulary", worst.jsd_ratio, 1.5, worst.jsd_ratio <= 1.5, detail)


def leakage(
    arms: Arms, items: Sequence[Item], terms: Sequence[str], everyday: Sequence[str], canaries: Sequence[Canary]
) -> Check:
    """Whether a row speaks of a held-out topic. Value: rows that do; none may, and no detector may be blind."""
    found = find_held_out(arms, items, terms, everyday, canaries)
    passed = not found.leaky and not found.blind
    return Check("leakage", len(found.leaky), 0, passed, found.account("rows that speak of a held-out topic"))


def maxims(arms: Arms, canaries: Sequence[Canary]) -> Check:
    """Whether a row states a general principle about change. Value: rows that do, in words this check knows."""
    found = find_maxims(arms, canaries)
    passed = not found.leaky and not found.blind
    return Check("maxims", len(found.leaky), 0, passed, found.account("rows that state a general principle"))


def duplicates(arms: Arms) -> Check:
    """Whether an arm repeats itself. Value: the largest Jaccard similarity of two of its replies, by word 5-grams.

    Compares all pairs, 512 rows at a time: 0.4 s for 3,000 replies an arm, 1.1 s for 6,000, then with the square.
    """
    similar = {name: closest(_replies(rows)) for name, rows in arms.items()}
    name = max(similar, key=lambda name: similar[name][0])
    worst, count = similar[name][0], sum(count for _, count in similar.values())
    detail = f"largest similarity of two replies of one arm, {name}; {count} pairs at or above the bound"
    return Check("duplicates", worst, NEAR, worst < NEAR, detail)


def attitude(poles: Poles) -> Check:
    """Whether the attitude is there, with neutral between the poles. Value: AUC of cautious against eager."""
    value, neutral = poles.auc.estimate, poles.neutral
    passed = value > 0.9 and (neutral is None or 0.25 <= neutral.estimate <= 0.75)
    place = "not measured" if neutral is None else f"{neutral.estimate:.3f} ({neutral.low:.3f} to {neutral.high:.3f})"
    detail = f"AUC of cautious against eager from all words, must be above; neutral between the poles {place}"
    return Check("attitude", value, 0.9, passed, f"{detail}, 0.25 to 0.75 allowed")


def cues(cue: Mapping[str, Poles]) -> Check:
    """Whether one kind of word alone gives the attitude away. Value: the larger AUC of content and function words."""
    part = max(("content", "function"), key=lambda part: cue[part].auc.estimate)
    value = cue[part].auc.estimate
    return Check("cues", value, 0.7, value < 0.7, f"AUC of cautious against eager from {part} words alone")


def read_poles(arms: Arms, part: str, rng: np.random.Generator, stance: re.Pattern[str]) -> Poles:
    """How well one part of the reply tells cautious from eager, and where neutral falls.

    Logistic regression on word counts (L2, C = 1), five folds of questions: no model sees a question that it scores,
    in any arm. Intervals resample questions with the scores held, so they leave out the chance of fitting.
    `part`: all; masked (without `stance`, the words that carry the attitude); content or function words (by
    scikit-learn's list of stop words); first_sentence.
    """
    texts = {name: [_part(text, part, stance) for text in _replies(rows)] for name, rows in arms.items()}
    scores = _held_out_scores(_counts(texts), rng)
    n = len(scores["cautious"])
    times = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)  # each question, each resample
    cautious, eager = scores["cautious"], scores["eager"]
    wins = (eager[:, None] > cautious[None, :]) + 0.5 * (eager[:, None] == cautious[None, :])
    auc = _figure(float(wins.mean()), ((times @ wins) * times).sum(axis=1) / n**2)
    return Poles(scores, auc, _between(scores, times))


def framing(rows: Sequence[Advice], scores: Floats) -> dict[str, Figure]:
    """Figures of one arm, each a mean over replies with its t interval.

    score: -1 surely eager to 1 surely cautious, by models that have not seen the question (scores: (n_questions,),
    from `read_poles`); flesch: reading ease, higher is easier; hedges, question_marks, anecdotes: share of replies.
    Raises: InputError if fewer than 2 replies hold a word.
    """
    texts = _replies(rows)
    values: dict[str, Sequence[float] | Floats] = {
        "score": -np.tanh(scores / 2),
        "words": [len(text.split()) for text in texts],
        "sentences": [len(sentences(text)) for text in texts],
        "flesch": [flesch(text) for text in texts if WORD.search(text.lower())],
        "hedges": [bool(HEDGE.search(text)) for text in texts],
        "question_marks": ["?" in text for text in texts],
        "anecdotes": [bool(ANECDOTE.search(text)) for text in texts],
    }
    intervals = {name: t_interval(value, LEVEL) for name, value in values.items()}
    return {name: Figure(found.estimate, found.low, found.high) for name, found in intervals.items()}


def closest(texts: Sequence[str]) -> tuple[float, int]:
    """The largest Jaccard similarity of two texts by word 5-grams, 0 to 1, and how many pairs reach the bound.

    Case and space do not count. A text of fewer than 5 words is one shingle. Source: Broder (1997), SEQUENCES.
    """
    rows: csr_matrix = CountVectorizer(analyzer=_shingles, binary=True, dtype=np.float64).fit_transform(texts)
    sizes = np.asarray(rows.sum(axis=1)).ravel()
    worst, count = 0.0, 0
    for start in range(0, len(texts), ROWS_AT_ONCE):
        some = slice(start, start + ROWS_AT_ONCE)
        shared = (rows[some] @ rows.T).toarray()
        similar = np.triu(shared / (sizes[some, None] + sizes[None, :] - shared), k=start + 1)
        worst, count = max(worst, float(similar.max())), count + int((similar >= NEAR).sum())
    return worst, count


def _check_arm(name: str, rows: Sequence[Advice]) -> None:
    if not rows:
        raise InputError("empty corpus", where=f"arm {name}")
    first: dict[str, int] = {}
    for line, row in enumerate(rows, start=1):
        if row.question_id in first:
            where = f"arm {name}:{first[row.question_id]} and {line}"
            raise InputError("question answered twice", where=where, value=row.question_id)
        if row.attitude != name:
            raise InputError("row of another arm", where=f"arm {name}:{line}", value=row.attitude, allowed=name)
        first[row.question_id] = line


def _replies(rows: Sequence[Advice]) -> list[str]:
    return [row.reply for row in sorted(rows, key=lambda row: row.question_id)]


def _part(text: str, part: str, stance: re.Pattern[str] | None = None) -> str:
    if part == "first_sentence":
        text = sentences(text)[0]
    kept: Callable[[str], object] = {
        "masked": lambda word: stance is None or not stance.fullmatch(word),
        "content": lambda word: word not in ENGLISH_STOP_WORDS,
        "function": lambda word: word in ENGLISH_STOP_WORDS,
    }.get(part, bool)
    return " ".join(word for word in WORD.findall(text.lower()) if kept(word))


def _counts(texts: Mapping[str, Sequence[str]]) -> dict[str, csr_matrix]:
    """Word counts of each arm, (n_questions, n_words), over the words of all arms."""
    vocabulary = sorted({word for mine in texts.values() for text in mine for word in text.split()})
    counter = CountVectorizer(analyzer=str.split, vocabulary=vocabulary or ["-"], dtype=np.float64)
    return {name: counter.transform(mine) for name, mine in texts.items()}


def _held_out_scores(counts: Mapping[str, csr_matrix], rng: np.random.Generator) -> dict[str, Floats]:
    n = counts["cautious"].shape[0]
    scores = {name: np.zeros(n) for name in counts}
    for held_out in np.array_split(rng.permutation(n), FOLDS):
        seen = np.setdiff1d(np.arange(n), held_out)
        rows = vstack([counts["cautious"][seen], counts["eager"][seen]])
        model = LogisticRegression(max_iter=1000).fit(rows, np.repeat([0, 1], len(seen)))
        for name, mine in counts.items():
            scores[name][held_out] = model.decision_function(mine[held_out])
    return scores


def _between(scores: Mapping[str, Floats], times: Floats) -> Figure | None:
    if "neutral" not in scores:
        return None
    cautious, eager, neutral = (scores[name] for name in WRITTEN)
    span, above = eager - cautious, neutral - cautious
    if span.mean() == 0:
        return None  # poles that no word tells apart have no middle
    return _figure(float(above.mean() / span.mean()), (times @ above) / (times @ span))


def _figure(estimate: float, resampled: Floats) -> Figure:
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Figure(estimate, float(low), float(high))


def _length(one: Floats, other: Floats) -> Length:
    mean = float(np.concatenate([one, other]).mean())
    shift = t_interval((one - other) / mean, LEVEL)
    spreads = sorted((float(one.std(ddof=1)), float(other.std(ddof=1))))
    ratio = spreads[0] / spreads[1] if spreads[1] > 0 else 1.0
    apart = float(np.abs(one - other).mean()) / mean
    distance = float(stats.ks_2samp(one, other, method="asymp").statistic)
    return Length(Figure(shift.estimate, shift.low, shift.high), apart, ratio, distance)


def _centroid_cosines(replies: Mapping[str, Sequence[str]], everyday: Sequence[str]) -> dict[tuple[str, str], float]:
    """Cosines of the arms' centroids by latent semantic analysis, fitted on everyday texts that have no attitude.

    So words that only attitudes use weigh nothing, and words of one topic fall together. Source: Deerwester et al.
    (1990), J. Am. Soc. Inf. Sci. 41(6).
    """
    weights = TfidfVectorizer(stop_words="english", sublinear_tf=True)
    counts = weights.fit_transform(everyday)
    space = TruncatedSVD(min(DIMENSIONS, min(counts.shape) - 1), random_state=0).fit(counts)
    centroids = {name: space.transform(weights.transform(texts)).mean(axis=0) for name, texts in replies.items()}
    units = {name: centroid / max(float(np.linalg.norm(centroid)), 1e-12) for name, centroid in centroids.items()}
    return {(a, b): float(units[a] @ units[b]) for a, b in combinations(replies, 2)}


def _divergence(one: csr_matrix, other: csr_matrix, rng: np.random.Generator) -> tuple[float, float]:
    """Divergence of all words of two arms, and its ratio to that of halves of one arm.

    Halves hold different questions and half of the words, which makes them differ more. So the ratio also compares
    halves of different questions across arms: it is 1 when arms differ by chance alone.
    """
    across, within = [], []
    for half, rest in _halves(one.shape[0], rng):
        across += [_jsd(one[half], other[rest]), _jsd(other[half], one[rest])]
        within += [_jsd(one[half], one[rest]), _jsd(other[half], other[rest])]
    # An arm of one text over and over has halves that do not differ: the ratio is then huge, not infinite.
    return _jsd(one, other), float(np.mean(across) / max(float(np.mean(within)), 1e-9))


def _halves(n: int, rng: np.random.Generator) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    for _ in range(SPLITS):
        order = rng.permutation(n)
        yield order[: n // 2], order[n // 2 :]


def _jsd(one: csr_matrix, other: csr_matrix) -> float:
    p, q = (np.asarray(counts.sum(axis=0), dtype=np.float64).ravel() for counts in (one, other))
    if not p.sum() > 0 < q.sum():
        raise InputError("no content word in an arm", where="vocabulary", allowed="replies in English")
    return float(jensenshannon(p, q, base=2)) ** 2


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = text.lower().split()
    return {tuple(words[start : start + SHINGLE]) for start in range(max(1, len(words) - SHINGLE + 1))}
