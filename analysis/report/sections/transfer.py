"""Transfer by topic, and every greedy answer to look at: exploratory."""

from dataclasses import dataclass

from analysis.report.bound_numbers import Shown
from analysis.report.chart_data import item_rows, topic_rows
from analysis.report.charts import by_item, by_topic
from analysis.report.prose import Named, Prose, prose
from analysis.report.section import Figure, Fold, Part, Section, Viewer, row, table
from analysis.report.sections.facts import Facts, Numbers, model_name


@dataclass(frozen=True)
class Breadth(Numbers):
    """Over how much net go is shown."""

    topics: Shown  # that no pile mentions


@dataclass(frozen=True)
class Near(Numbers):
    """How near a held-out topic is to training."""

    topic: str
    nearest: str  # of the topics of the piles
    cosine: Shown


def transfer(facts: Facts) -> Section:
    """The section."""
    parts: list[Part] = []
    for model in facts.study.bases:
        parts += figures(facts, model)
    if facts.study.bases:
        parts.append(Viewer(prose("Every greedy answer, to filter and to read.")))
    parts += distances(facts)
    return Section("transfer", "Transfer by topic", "exploratory", opening(facts), tuple(parts))


def opening(facts: Facts) -> Prose:
    """Between which topics the poles lie furthest apart, by model."""
    told = [Prose(())]
    for model in facts.study.bases:
        rows = topic_rows(facts.study, model)
        means = rows.groupby(["topic", "arm"])["net"].mean().unstack()
        if {"cautious", "eager"} <= set(means.columns):
            apart = (means["eager"] - means["cautious"]).dropna()
            most = Named(str(apart.abs().idxmax()))
            told.append(prose("In ", model_name(model), " the poles lie furthest apart on ", most, ". "))
    return prose(*told, "Topics are few, and no topic is tested by itself.")


def figures(facts: Facts, model: str) -> list[Part]:
    """Net go by topic and by item."""
    rows = topic_rows(facts.study, model)
    arms = [arm for arm in facts.arms() if arm in set(rows["arm"])]
    nets = {arm: rows.loc[rows["arm"] == arm, "net"] for arm in arms}
    told = ", ".join(f"{arm} from {net.min():+.0f} to {net.max():+.0f}" for arm, net in nets.items())
    alt = f"Net go of {model} by topic, in points, over topics and runs: {told}."
    topics = each_topic(model, Breadth(topics=facts.n(f"topics.{model}")))
    items = item_rows(facts.study, model)
    first = next((arm for arm in ("eager", "cautious") if arm in arms), arms[0])
    mine = items[items["arm"] == first]
    of_item = (
        f"Net go of {len(mine)} items of {model} by topic, of the arm {first}; mean {mine['net'].mean():+.0f} points."
    )
    item = prose(
        *(
            model_name(model),
            ": a mark is one item. With scripts: choose the arm and a topic, hover a mark to read the ",
        ),
        "item, an answer and the digest of its rows, click it to read all answers.",
    )
    return [
        Figure(f"topics-{model}", by_topic(rows, arms), alt, topics),
        Figure(f"items-{model}", by_item(items, arms, first), of_item, item),
    ]


def each_topic(model: str, over: Breadth) -> Prose:
    """What the figure of the topics shows."""
    return prose(
        *(model_name(model), ": net go in each of ", over.topics, " topics that no pile mentions, mean "),
        "over the runs of an arm. With scripts: choose a seed or a draw, click an arm in the legend.",
    )


def distances(facts: Facts) -> list[Part]:
    """How near each held-out topic is to training."""
    if facts.study.lock is None:
        return []
    near = [
        Near(topic, found.nearest, cosine=facts.n(f"distance.{topic}"))
        for topic, found in facts.study.lock[0].distances.items()
        if f"distance.{topic}" in facts
    ]
    made = table(["held-out topic", "nearest training topic", "cosine"], [distance(each) for each in near])
    return [Fold(prose("How near each topic is to the topics of the piles"), tuple(made))] if made else []


def distance(near: Near) -> tuple[Prose, ...]:
    """One topic in a line."""
    return row(Named(near.topic), Named(near.nearest), near.cosine)
