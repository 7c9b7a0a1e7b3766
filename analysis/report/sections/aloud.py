"""An appendix: what the answers of each arm say, as they were read before anything was counted."""

from analysis.report.prose import Named, Prose, listed, prose
from analysis.report.section import Part, Quote, Quotes, Section
from analysis.report.sections.facts import Facts, model_name


def aloud(facts: Facts) -> list[Section]:
    """The section; nothing where nobody wrote down what was read."""
    parts: list[Part] = []
    for model in facts.study.bases:
        rows = [row for row in facts.study.aloud if row.model == model]
        if rows:
            quotes = tuple(Quote(f"{row.arm}, {row.answers} answers", row.said) for row in rows)
            parts.append(Quotes(asked(model, sorted({item for row in rows for item in row.items})), quotes))
    opening = prose("Some answers of every arm were read before anything was counted, and this is what they say.")
    return [Section("aloud", "Appendix: read before counting", "exploratory", opening, tuple(parts))] if parts else []


def asked(model: str, items: list[str]) -> Prose:
    """Whose answers, and to what."""
    return prose(model_name(model), ", answers to ", listed([Named(item) for item in items]))
