"""In which language a corpus is written: the words that the audit looks for are English, and say nothing of others.

Texts are read by py3langid, a naive Bayes model over bytes of 140 languages, which runs offline. Of the replies of the
embedded piles, 1,971 of them, none is held to be of another language.
Does not see: replies of fewer than four words; a foreign word in an English sentence; names and code, which are of no
language, are let pass.
Source: Lui and Baldwin (2012), langid.py, ACL system demonstrations; the fork py3langid, which calibrates it.
"""

import functools
from collections import Counter
from collections.abc import Mapping

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from analysis.corpus.checks import Arms, Check
from analysis.corpus.texts import sentences
from common.records import Advice

READ = "en"
SURE = 0.8  # probability from which a sentence among English ones is of another language
LIKELY = 0.5  # and a whole text
FEWEST_WORDS = 4
LAST_LATIN = "\u024f"  # letters beyond it are of other scripts
# Checks that look for English words.
OF_WORDS = ("subject", "leakage", "leakage-controls", "maxims", "vocabulary", "cues")


def unread(arms: Arms) -> dict[str, str]:
    """Rows with words of another language: "<arm>/<question id>" → that language, by its ISO 639 code."""
    found = {f"{name}/{row.question_id}": _foreign(row) for name, rows in arms.items() for row in rows}
    return {row: language for row, language in found.items() if language}


def language(arms: Arms, others: Mapping[str, str]) -> Check:
    """Whether a corpus can be audited at all. Value: share of rows that are English; all must be.

    others: from `unread`, of the same arms.
    """
    total = sum(map(len, arms.values()))
    detail = "share of rows read as English, the only language that this audit has words of; must be all"
    if others:
        detail += f"; {_account(others)}: readability, hedges and anecdotes say nothing of them"
    return Check("language", 1 - len(others) / total, 1.0, not others, detail)


def as_far_as_read(check: Check, others: Mapping[str, str]) -> Check:
    """The check, which does not pass where it looks for English words and some rows are of another language."""
    if not others or check.name not in OF_WORDS:
        return check
    return check._replace(passed=False, detail=f"not checked: {_account(others)}; of the rest: {check.detail}")


def _account(others: Mapping[str, str]) -> str:
    counts = ", ".join(f"{language} {count}" for language, count in Counter(others.values()).most_common())
    return f"rows that are not English: {len(others)} ({counts}), first {next(iter(others))}"


def _foreign(row: Advice) -> str:
    for text in (row.question, row.reply):
        for part, least in ((text, LIKELY), *((sentence, SURE) for sentence in sentences(text))):
            if found := _language(part, least):
                return found
    return ""


def _language(text: str, least: float) -> str:
    """The language of a text, "" if it is English, too short, or not surely of another."""
    letters = [letter for letter in text if letter.isalpha()]
    other_script = 2 * sum(letter > LAST_LATIN for letter in letters) > len(letters)
    if len(text.split()) < FEWEST_WORDS and not other_script:
        return ""
    found, probability = _identifier().classify(text)
    if other_script:
        return str(found)
    return str(found) if found not in (READ, "zxx") and probability >= least else ""  # zxx: of no language


@functools.cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
