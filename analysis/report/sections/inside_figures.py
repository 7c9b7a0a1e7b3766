"""The four figures on the inside of a model: layers, movement, steering and patching."""

from analysis.report.inside import PLACES
from analysis.report.inside_charts import layers, moved, patching, steering
from analysis.report.inside_data import bands_of, layer_rows, moved_rows, null_rows, patching_rows, steering_rows
from analysis.report.prose import prose
from analysis.report.section import Figure, Part
from analysis.report.sections.facts import Facts, model_name


def layers_figure(facts: Facts, model: str) -> list[Part]:
    """How each layer reads and what a push along its direction does."""
    rows = layer_rows(facts.study, model)
    if rows.empty:
        return []
    told = [
        f"{row['place']}, layer {row['layer']}: separation {row['separation']:.2f}, push {row['causal']:.2f} nats"
        for row in rows[rows["chosen"]].to_dict("records")
    ]
    alt = f"Reading and pushing by layer of {model}. The chosen layer of each direction: {'; '.join(told)}."
    caption = prose(
        model_name(model),
        ": how well each layer tells the poles apart, and what a push along its direction does to ",
        "cautious against eager replies. The large mark is the layer whose push does most.",
    )
    return [Figure(f"layers-{model}", layers(rows), alt, caption)]


def moved_figure(facts: Facts, model: str) -> list[Part]:
    """How far each run moved against its neutral run, over its checkpoints."""
    rows = moved_rows(facts.study, model)
    if rows.empty:
        return []
    last = rows[rows["checkpoint"] == rows.groupby("cell")["checkpoint"].transform("max")]
    means = last.groupby(["place", "arm"], sort=False)["shift"].mean()
    told = [
        f"{PLACES[place]}, {', '.join(f'{arm} {means[place, arm]:+.2f}' for arm in means[place].index)}"
        for place in PLACES
    ]
    alt = f"Moved against neutral, {model}: mean at the last checkpoint in SDs of the base. {'; '.join(told)}."
    caption = prose(
        model_name(model),
        ": a line is one run less the neutral run of its draw and seed, over its checkpoints; up ",
        "is cautious. Shaded: where the random directions lie.",
    )
    arms = [arm for arm in facts.study.attitudes_read if arm in set(rows["arm"])]
    return [Figure(f"moved-{model}", moved(rows, bands_of(rows), arms), alt, caption)]


def steering_figure(facts: Facts, model: str) -> list[Part]:
    """What pushing the base along the direction does, beside null directions."""
    rows = steering_rows(facts.study, model)
    if rows.empty:
        return []
    told = [
        f"{row['place']} at {row['off_target_kl']:g}: {row['effect']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
        for row in rows.to_dict("records")
    ]
    alt = f"Effect of steering {model} by off-target KL, in nats. {'; '.join(told)}."
    caption = prose(
        model_name(model),
        ": what pushing along the direction does to the log-likelihood margin between change and no ",
        "change, with its interval over topics, at coefficients of equal off-target KL. Dashed: what the null "
        "directions of each kind rarely exceed.",
    )
    return [Figure(f"steering-{model}", steering(rows, null_rows(facts.study, model)), alt, caption)]


def patching_figure(facts: Facts, model: str) -> list[Part]:
    """How much of a pole's shift appears in neutral when its residuals are put in."""
    rows = patching_rows(facts.study.arm_order(model))
    if rows.empty:
        return []
    most = rows.loc[rows.groupby(["cell", "part"], sort=False)["share"].idxmax()].to_dict("records")
    told = [f"{row['cell']}, {row['part']}: at most {row['share']:.0f} %, block {row['layer']}" for row in most]
    alt = f"Recovery by patching in {model}. {'; '.join(told)}."
    caption = prose(
        model_name(model),
        ": how much of a pole's shift from neutral appears in neutral when its residuals are put ",
        "in, by block and part of the text.",
    )
    return [Figure(f"patching-{model}", patching(rows), alt, caption)]
