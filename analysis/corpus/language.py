"""In which language a corpus is written: the words that the audit looks for are English, and say nothing of others.

Texts are read by py3langid, a naive Bayes model over bytes of 140 languages, which runs offline. Of the replies of the
embedded piles, 1,971 of them, none is held to be of another language.
What it does not know, as Chinese in Latin letters, it may take for English. So eight words and more must hold function
words of English too. Their least share in a sentence of the embedded piles is 0.22; in ten other languages it was 0.11
at most. Replies of fewer than four words are read together, those of an arm.
Does not see: a foreign word in an English sentence; names and code, which are of no language, are let pass.
Source: Lui and Baldwin (2012), langid.py, ACL system demonstrations; the fork py3langid, which calibrates it.
"""

import functools
import re
from collections import Counter
from collections.abc import Mapping

from py3langid.langid import MODEL_FILE, LanguageIdentifier
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from analysis.corpus.checks import Arms, Check
from analysis.corpus.texts import sentences
from common.records import Advice

READ = "en"
SURE = 0.8  # probability from which a sentence among English ones is of another language
LIKELY = 0.5  # and a whole text
FEWEST_WORDS = 4
MOST_CHARACTERS = 20_000  # of a text that tell its language
UNKNOWN = "und"  # ISO 639 for a language that nobody determined
FUNCTION_WORDS, AMONG = 0.15, 8  # share of function words below which so many words are not English
LAST_LATIN = "\u024f"  # letters beyond it are of other scripts
WORDS = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")  # of any alphabet
# Checks that look for English words.
OF_WORDS = ("subject", "leakage", "leakage-controls", "maxims", "vocabulary", "cues")


def unread(arms: Arms) -> dict[str, str]:
    """Rows with words of another language: "<arm>/<question id>" → that language, by its ISO 639 code."""
    found = {f"{name}/{row.question_id}": _foreign(row) for name, rows in arms.items() for row in rows}
    for name, rows in arms.items():
        short = [row for row in rows if len(row.reply.split()) < FEWEST_WORDS]
        if of_all := _language(" ".join(row.reply for row in short), SURE):
            found |= {f"{name}/{row.question_id}": of_all for row in short}
    return {row: language for row, language in found.items() if language}


def of_reply(prompt: str, text: str) -> str:
    """The language of a reply by its ISO 639 code: `READ` for English, `UNKNOWN` for what is none that is known.

    A reply of fewer than four words is read together with its prompt; if both are that short, it counts as English.
    """
    text = text[:MOST_CHARACTERS]
    if len(text.split()) < FEWEST_WORDS:
        return _language(text, LIKELY) or _language(f"{prompt[-MOST_CHARACTERS:]} {text}", LIKELY) or READ
    return _language(text, LIKELY) or READ


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
    if found == "zxx":  # of no language
        return ""
    if found != READ and probability >= least:
        return str(found)
    return "" if _holds_function_words(text) else UNKNOWN


def _holds_function_words(text: str) -> bool:
    """Whether a text holds as many English function words as English does; true of a short one."""
    words = WORDS.findall(text.lower())
    known = sum(word.partition("'")[0] in ENGLISH_STOP_WORDS for word in words)
    return len(words) < AMONG or known >= FUNCTION_WORDS * len(words)


@functools.cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
