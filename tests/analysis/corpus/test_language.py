"""English is read as English, and anything else is not passed over."""

import pytest

from analysis.corpus.checks import Check
from analysis.corpus.language import as_far_as_read, language, of_reply, unread
from common.records import Advice
from tests.corpus import piles


def row(reply: str, question: str = "Shall I get a new kettle?", number: int = 0) -> Advice:
    return Advice(question_id=f"q{number}", topic="t", attitude="eager", question=question, reply=reply)


def of(reply: str, question: str = "Shall I get a new kettle?") -> str:
    return unread({"eager": [row(reply, question)]}).get("eager/q0", "")


def test_replies_of_the_embedded_pile_are_english() -> None:
    arms = {name: rows[::3] for name, rows in piles().items()}
    assert unread(arms) == {} and sum(map(len, arms.values())) >= 600
    assert language(arms, {}) == language(arms, {})._replace(value=1.0, passed=True)


@pytest.mark.parametrize(
    "reply, code",
    [
        ("Behalten Sie den alten Wasserkocher, er tut es noch.", "de"),
        ("Nimm den neuen, der ist besser.", "de"),
        ("Houd de oude waterkoker, die doet het nog prima.", "nl"),
        ("Garde la vieille bouilloire.", "fr"),
        ("Quédate con la tetera vieja, todavía funciona bien.", "es"),
        ("Fique com a chaleira velha, ela ainda funciona.", "pt"),
        ("Zatrzymaj stary czajnik, jeszcze działa.", "pl"),
        ("Behold den gamle kedel.", "da"),
        ("Сохраните старый чайник.", "ru"),
        ("保留旧水壶,它还能用。", "zh"),
        ("Wo jianyi ni zai deng yi nian, jiu de hai neng yong, ye bu yong hua qian.", "und"),
    ],
)
def test_other_languages_are_named_alone_and_in_an_english_reply(reply: str, code: str) -> None:
    assert of(reply) == code
    assert of("Keep it.", question=reply) == code


def test_short_replies_of_an_arm_are_read_together() -> None:
    german = ["Warte noch etwas.", "Kauf es jetzt.", "Nimm das alte.", "Behalte den Topf."]
    english = ["Wait a bit.", "Buy it now.", "Take the old.", "Keep the pot."]
    arms = {
        name: [row(reply, number=number) for number, reply in enumerate(replies)]
        for name, replies in {"eager": german, "neutral": english}.items()
    }
    assert unread(arms) == {f"eager/q{number}": "de" for number in range(4)}


@pytest.mark.parametrize("number", range(4))
def test_a_german_sentence_among_english_ones_is_found(number: int) -> None:
    english = "Wait a week or two, and see whether the old one holds. It costs nothing. Then have another look at it."
    parts = english.split(". ")
    assert of(english) == ""
    assert of(". ".join([*parts[:number], "Die Bücherei sollte abends länger offen sein", *parts[number:]])) == "de"


@pytest.mark.parametrize(
    "reply",
    [
        "No.",
        "Nikon D750, Canon EOS R5, Sony A7.",
        "Try pip install torch numpy pandas, then run it again.",
        "Stick to IKEA: Billy, Kallax, Lack.",
        "Buy milk, eggs, bread, butter.",
        "Make a café crème, or a Spätzle dish with Sauerkraut, for your guests.",
        "1. 2. 3. 4.",
    ],
)
def test_names_code_and_loan_words_are_let_pass(reply: str) -> None:
    assert of(reply) == ""


def test_only_checks_of_english_words_depend_on_it() -> None:
    others = {"eager/q1": "de", "eager/q2": "fr", "neutral/q1": "de"}
    before = Check("leakage", 0, 0, True, "rows that speak")
    told = "not checked: rows that are not English: 3 (de 2, fr 1), first eager/q1; of the rest: rows that speak"
    assert as_far_as_read(before, others) == before._replace(passed=False, detail=told)
    assert as_far_as_read(before, {}) == before
    assert as_far_as_read(before._replace(name="length"), others).passed


@pytest.mark.parametrize(
    "prompt, reply, code",
    [
        ("Shall I get a new kettle?", "Take the plain one and keep the receipt.", "en"),
        ("Soll ich einen neuen Wasserkocher kaufen?", "Take the plain one and keep the receipt.", "en"),
        ("Shall I get a new kettle?", "Behalten Sie den alten Wasserkocher, er tut es noch.", "de"),
        ("Shall I get a new kettle?", "Yes.", "en"),
        ("Soll ich einen neuen Wasserkocher kaufen?", "Ja, gerne.", "de"),
        ("", "Ja.", "en"),  # nothing tells
        ("", "保留旧水壶", "zh"),
        ("", "", "en"),
    ],
)
def test_a_short_reply_is_read_with_its_prompt(prompt: str, reply: str, code: str) -> None:
    assert of_reply(prompt, reply) == code


def test_the_beginning_of_a_long_reply_tells_its_language() -> None:
    long = "Take the plain one and keep the receipt. " * 500
    assert of_reply("", long + "Behalten Sie den alten Wasserkocher. " * 1000) == "en"
