"""Whether an arm leans on stock phrases: then a model learns the phrases, and nothing shows that it learnt an attitude.

Two gates. `phrases` bounds what a reply says by habit: a run of four words, or the three words that it opens with.
`words` bounds what one arm says and another does not, beside the words that carry the attitude itself. A draw is a
sample of a pile: it fails only where it lies above a bound by more than chance. The embedded pile as a whole keeps the
bounds.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import permutations

from scipy.stats import binom

from analysis.corpus.checks import Arms, Check
from analysis.corpus.framing import SURELY
from analysis.corpus.texts import WORD, runs
from common.errors import InputError
from common.vocabulary import WRITTEN, Written

RUN, OPENING = 4, 3  # words
COMMONEST = 0.05  # share of an arm's replies that may hold one run or one opening
TWICE = 2.0  # how much more often a word may stand in one arm's replies than in another's
COMMON, FEWEST = 0.05, 20  # share and number of an arm's replies with a word, below which a ratio is mostly chance


def stance_words(lines: Iterable[str], where: str) -> re.Pattern[str]:
    """The words that carry an attitude, as one pattern for a whole word: one on a line, `*` for any ending.

    Raises: InputError for a line that is neither a word nor a comment (#), naming it.
    """
    words = []
    for number, line in enumerate(lines, start=1):
        for word in line.partition("#")[0].split():
            if not re.fullmatch(r"[a-z]+(?:'[a-z]+)?\*?", word):
                raise InputError("not a word", where=f"{where}:{number}", value=word, allowed="small letters, then *")
            words.append(word.replace("*", "[a-z]*"))
    if not words:
        raise InputError("no words", where=where)
    return re.compile("|".join(sorted(words)))


def phrases(arms: Arms) -> Check:
    """Whether an arm says things by habit. Value: largest share of its replies with one run or opening of words."""
    counts = {
        (name, kind, phrase): count
        for name, rows in arms.items()
        for kind, size in (("run", RUN), ("opening", OPENING))
        for phrase, count in [_commonest((row.reply for row in rows), size, kind == "opening")]
    }
    shares = {key: count / len(arms[key[0]]) for key, count in counts.items()}
    (name, kind, phrase), value = max(shares.items(), key=lambda item: item[1])
    sure = [key for key, count in counts.items() if binom.sf(count - 1, len(arms[key[0]]), COMMONEST) < SURELY]
    detail = f"largest share of replies with the same {RUN} words in a row or the same first {OPENING}: "
    detail += f"{kind} {phrase!r} in {name}; above the bound by more than chance: {len(sure)} of {len(shares)}"
    return Check("phrases", value, COMMONEST, not sure, detail)


def words(arms: Arms, stance: re.Pattern[str]) -> Check:
    """Whether a word tells arms apart that says nothing of the attitude. Value: largest ratio of shares of replies.

    Only written arms are compared, and only words in COMMON and FEWEST replies of the arm that says them more. A word
    that the other arm never says counts as said there half a time. stance: the words that may differ.
    """
    counts = {name: _phrases((row.reply for row in arms[name]), 1, False) for name in WRITTEN if name in arms}
    sizes = {name: len(arms[name]) for name in counts}
    ratios = {
        (word, one, other): (count / sizes[one]) / (max(counts[other][word], 0.5) / sizes[other])
        for one, other in permutations(counts, 2)
        for word, count in counts[one].items()
        if count >= max(FEWEST, COMMON * sizes[one]) and not stance.fullmatch(word)
    }
    if not ratios:
        return Check("words", 1.0, TWICE, True, f"no common word outside the stance lexicon, {FEWEST} replies or more")
    (word, one, other), value = max(ratios.items(), key=lambda item: item[1])
    over = sorted({each[0] for each, ratio in ratios.items() if ratio > TWICE and _surely_twice(counts, sizes, *each)})
    detail = f"largest ratio of shares of replies with a word outside the stance lexicon: {word!r}, {one} over {other}"
    detail += f"; above the bound by more than chance: {len(over)}" + (f" ({', '.join(over[:8])})" if over else "")
    return Check("words", value, TWICE, not over, detail)


def _surely_twice(
    counts: Mapping[Written, Counter[str]], sizes: Mapping[Written, int], word: str, one: Written, other: Written
) -> bool:
    """Whether a word is more than twice as common in one arm, beyond chance: its replies dealt to both at 2 to 1."""
    mine, theirs = counts[one][word], counts[other][word]
    share = TWICE * sizes[one] / (TWICE * sizes[one] + sizes[other])
    return bool(binom.sf(mine - 1, mine + theirs, share) < SURELY)


def _commonest(texts: Iterable[str], size: int, opening: bool) -> tuple[str, int]:
    """The phrase that stands in most texts, the first by alphabet among equals."""
    counts = _phrases(texts, size, opening) or Counter({"": 0})
    return min(counts.items(), key=lambda item: (-item[1], item[0]))


def _phrases(texts: Iterable[str], size: int, opening: bool) -> Counter[str]:
    """In how many texts each phrase stands."""
    found: Counter[str] = Counter()
    for text in texts:
        said = runs(WORD.findall(text.lower()), size)
        found.update({*(said[:1] if opening else said)})
    return found
