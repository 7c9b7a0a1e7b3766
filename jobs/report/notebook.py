"""A published report to turn: `make notebook STUDY=laptop`. No GPU, no store, no model.

It is a marimo notebook, not a Jupyter one: a control runs the cells that depend on it and no others, so what is seen
is never left over from an earlier choice; and it is plain Python, which is reviewed, typed and tested as any other.
"""

import marimo

app = marimo.App(width="medium", app_title="Undertone")


@app.cell
def _():
    from pathlib import Path

    import marimo as mo

    from common.errors import InputError
    from jobs.report import turned

    return InputError, Path, mo, turned


@app.cell
def _(Path, mo, turned):
    folder = Path(str(mo.cli_args().get("report") or "reports/smollm2"))
    whole = turned.opened(folder)
    return (whole,)


@app.cell
def _(mo, turned, whole):
    topics = mo.ui.multiselect(turned.topics_of(whole), value=turned.topics_of(whole), label="topics")
    arms = mo.ui.multiselect(whole.attitudes, value=whole.attitudes, label="arms")
    measure = mo.ui.dropdown(turned.measures(), value=turned.measures()[0], label="measure")
    margin = mo.ui.slider(1, 40, value=10, label="margin, points", show_value=True)
    mo.vstack([mo.md(f"# {whole.name}, turned"), mo.hstack([topics, arms, measure, margin], wrap=True)])
    return arms, margin, measure, topics


@app.cell
def _(InputError, arms, mo, topics, turned, whole):
    try:
        facts = turned.facts_of(turned.narrowed(whole, topics.value, arms.value))
    except InputError as error:
        facts = None
        mo.stop(True, mo.md(f"**{error}**"))
    return (facts,)


@app.cell
def _(facts, margin, measure, mo, turned):
    told = turned.verdicts(turned.held(facts, measure.value, margin.value))
    mo.ui.table([each._asdict() for each in told], selection=None, label="contrasts against the margin")
    return


@app.cell
def _(facts, margin, measure, mo, turned):
    drawn = turned.figures(facts, measure.value, margin.value)
    mo.vstack(
        [mo.Html(f'<div role="img" aria-label="{name}" data-figure="{name}">{svg}</div>') for name, svg, _ in drawn]
    )
    return


if __name__ == "__main__":
    app.run()
