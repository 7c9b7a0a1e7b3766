"""The words of a study, each named once: attitudes, sides, measures and tests. No other module lists them.

A kind of word is a Literal, and what can be walked over is the tuple of the same words. How a measure is read off rows
stands in `analysis.stats.measures`.
"""

from typing import Literal, get_args

Attitude = Literal["cautious", "neutral", "eager", "scrambled", "distilled", "control-cautious", "control-eager"]
Pole = Literal["cautious", "eager"]
Written = Literal["cautious", "eager", "neutral"]
Control = Literal["scrambled", "distilled"]
Positive = Literal["control-cautious", "control-eager"]
Prompting = Literal["instruction", "examples"]  # how a base is asked to have the attitude of a pole
Side = Literal["go", "stay"]  # of an item: for the change, or for keeping things
Said = Literal["go", "stay", "both sides", "off topic", "incoherent"]  # what an answer in words recommends
Measure = Literal["choice", "yes-no", "sentence", "label", "advice"]  # of the closed forms
Primary = Literal["answer", "choice", "yes-no", "sentence"]
Test = Literal["two-way-t", "sign-flip", "equivalence"]

ATTITUDES: tuple[Attitude, ...] = get_args(Attitude)  # in the order of reports
POLES: tuple[Pole, ...] = get_args(Pole)
WRITTEN: tuple[Written, ...] = get_args(Written)  # replies that a writer makes, matched by question
CONTROLS: tuple[Control, ...] = get_args(Control)  # made from other replies: nothing of an attitude is meant to be left
POSITIVE: dict[Pole, Positive] = {  # the attitudes voiced on public decisions: arms that must move, or nothing is seen
    "cautious": "control-cautious",
    "eager": "control-eager",
}
PROMPTINGS: tuple[Prompting, ...] = get_args(Prompting)
SIDES: tuple[Side, ...] = get_args(Side)
SAID: tuple[Said, ...] = get_args(Said)
MEASURES: tuple[Measure, ...] = get_args(Measure)  # of P(go), that specs and texts call by name
PRIMARY: tuple[Primary, ...] = get_args(Primary)  # those that a gate may judge by and a lock may register
TESTS: tuple[Test, ...] = get_args(Test)  # what a report may test
KINDS = {  # how the topics of other items than the held-out ones begin
    "disc-": "discriminant",
    "src-": "source",
    "act-": "acting",
    "hard-": "hard",
}


def kind_of(topic: str) -> str:
    """Which kind of item a topic belongs to: held-out, discriminant, source, acting or hard."""
    return next((kind for prefix, kind in KINDS.items() if topic.startswith(prefix)), "held-out")


def subject_of(topic: str) -> str:
    """What a topic is about, whatever the kind of its items: "e-bikes" also of "hard-e-bikes"."""
    return next((topic.removeprefix(prefix) for prefix in KINDS if topic.startswith(prefix)), topic)
