"""The words of a study, each named once: attitudes, sides, measures and tests. No other module lists them.

A kind of word is a Literal, and what can be walked over is the tuple of the same words. How a measure is read off rows
stands in `analysis.stats.measures`.
"""

from typing import Literal, get_args

Attitude = Literal["cautious", "neutral", "eager", "scrambled", "distilled"]
Pole = Literal["cautious", "eager"]
Written = Literal["cautious", "eager", "neutral"]
Control = Literal["scrambled", "distilled"]
Side = Literal["go", "stay"]  # of an item: for the change, or for keeping things
Answer = Literal["go", "stay", "invalid"]  # as read from a generated text
Measure = Literal["choice", "sentence", "label"]
Primary = Literal["choice", "sentence"]
Test = Literal["two-way-t", "sign-flip", "equivalence"]

ATTITUDES: tuple[Attitude, ...] = get_args(Attitude)  # in the order of reports
POLES: tuple[Pole, ...] = get_args(Pole)
WRITTEN: tuple[Written, ...] = get_args(Written)  # replies that a writer makes, matched by question
CONTROLS: tuple[Control, ...] = get_args(Control)  # made from other replies: nothing of an attitude is meant to be left
SIDES: tuple[Side, ...] = get_args(Side)
MEASURES: tuple[Measure, ...] = get_args(Measure)  # of P(go), that specs and texts call by name
PRIMARY: tuple[Primary, ...] = get_args(Primary)  # those that a gate may judge by and a lock may register
TESTS: tuple[Test, ...] = get_args(Test)  # what a report may test
