"""A notebook that works the report's main table out again from results.json, executed, with its outputs."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from analysis.stats.measures import MEASURES
from common.vocabulary import ATTITUDES

SECONDS = 120
CELLS = (
    (
        "markdown",
        "# Results, worked on\n\n`results.json` holds each number of the report with its source.",
    ),
    (
        "code",
        "import json\nfrom pathlib import Path\n\nimport pandas as pd\n\n"
        "results = pd.DataFrame(json.loads(Path('results.json').read_text())).T\nlen(results)",
    ),
    ("markdown", "## P(go) by arm\n\nRows are arms, columns are measures; `base` is the base."),
    (
        "code",
        f"measures = {[*MEASURES, 'p_yes', 'consistency']}\n"
        "parts = results.index.to_series().str.split('.')\n"
        f"arms = {['base', *ATTITUDES]}\n"
        "main = results[(parts.str.len() == 3) & parts.str[0].isin(measures) & parts.str[2].isin(arms)]\n"
        "named = [name.split('.') for name in main.index]\n"
        "table = pd.DataFrame(columns=measures, dtype=float)  # stays empty where no base was evaluated\n"
        "for (measure, *arm), value in zip(named, main['value']):\n"
        "    table.loc[' '.join(arm), measure] = value\n"
        "table.round(3)",
    ),
    ("markdown", "## Shift from base, with intervals over topics"),
    (
        "code",
        "shifts = results[results.index.str.startswith('shift.')]\n"
        "shifts = shifts.reindex(columns=['value', 'low', 'high']).astype(float)\nshifts.round(3)",
    ),
    (
        "code",
        "%matplotlib inline\nimport matplotlib.pyplot as plt\n\n"
        "figure, axes = plt.subplots(figsize=(6, 0.4 * len(shifts) + 1))\n"
        "error = [shifts['value'] - shifts['low'], shifts['high'] - shifts['value']]\n"
        "axes.errorbar(shifts['value'], range(len(shifts)), xerr=error, fmt='o')\n"
        "axes.set_yticks(range(len(shifts)), shifts.index)\naxes.axvline(0, color='black', lw=0.6)\n"
        "axes.set_xlabel('shift of P(go) from base')\nplt.show()",
    ),
    ("markdown", "## Where a number comes from"),
    ("code", "pd.DataFrame(results.loc[shifts.index[0], 'source']) if len(shifts) else 'no shift was measured'"),
)


def executed(results: bytes, workdir: Path) -> bytes:
    """The notebook, run over these results in `workdir`, as .ipynb bytes.

    Raises: nbclient.exceptions.CellExecutionError if a cell fails.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "results.json").write_bytes(results)
    make: dict[str, Any] = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    # Ids are counted, not drawn, so that equal results make equal notebooks.
    cells = [make[kind](text, id=f"cell-{number}") for number, (kind, text) in enumerate(CELLS)]
    book = nbformat.v4.new_notebook(cells=cells)
    with _kernel_of_this_interpreter(workdir):
        client = NotebookClient(
            book,
            timeout=SECONDS,
            kernel_name="undertone",
            resources={"metadata": {"path": str(workdir)}},
            record_timing=False,
        )
        client.execute()
    text: str = nbformat.writes(book)
    return text.encode()


@contextmanager
def _kernel_of_this_interpreter(workdir: Path) -> Iterator[None]:
    """A kernel that needs nothing installed and writes only below `workdir`: root may be read-only."""
    spec = workdir / "jupyter" / "kernels" / "undertone"
    spec.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "Python", "language": "python"}))
    places = {
        "JUPYTER_PATH": workdir / "jupyter",
        "JUPYTER_DATA_DIR": workdir / "jupyter",
        "JUPYTER_RUNTIME_DIR": workdir / "runtime",
        "JUPYTER_CONFIG_DIR": workdir / "config",
        "IPYTHONDIR": workdir / "ipython",
        "MPLCONFIGDIR": workdir / "matplotlib",
    }
    before = {name: os.environ.get(name) for name in places}
    os.environ.update({name: str(path) for name, path in places.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
