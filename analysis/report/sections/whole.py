"""The whole report: the first screen, then its sections in the order in which they are read."""

from collections.abc import Mapping

from analysis.report.answers import Headline
from analysis.report.bound_numbers import Book
from analysis.report.prose import Named, prose
from analysis.report.section import Report
from analysis.report.sections.advised import advised
from analysis.report.sections.aloud import aloud
from analysis.report.sections.closed import closed
from analysis.report.sections.corpora import corpora
from analysis.report.sections.facts import Facts
from analysis.report.sections.front import front, gaps
from analysis.report.sections.guards import guards
from analysis.report.sections.inside import inside
from analysis.report.sections.label import label
from analysis.report.sections.method import limits, method, runs
from analysis.report.sections.readers import judge
from analysis.report.sections.training import training
from analysis.report.sections.transfer import transfer
from analysis.report.study import Study


def report_of(study: Study, book: Book, headlines: Mapping[str, Headline]) -> Report:
    """All sections. Raises: UnboundNumber if one asks for a number that nobody entered, or types one."""
    facts = Facts(study, book, headlines)
    sections = (
        *(training(facts), advised(facts), transfer(facts), *judge(facts), label(facts), guards(facts)),
        *(inside(facts), closed(facts), *runs(facts), corpora(facts), method(facts), limits(facts)),
        *aloud(facts),
    )
    title = prose("Undertone: ", Named(study.name))
    return Report(title, (*gaps(facts), *front(facts)), sections)
