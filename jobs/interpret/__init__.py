"""Look for a direction of caution in an untouched model, and see whether fine-tuning moves along it.

On a direction cell (<model>.d<draw>): the direction is the mean over questions of cautious minus eager reply-token
activations of the untouched model; the layer is chosen on questions kept apart, the last layers pruned.
On a run: the residual at the last token of each held-out prompt, at every saved checkpoint, along that direction.

Reads   generate/<both poles>/advice.jsonl (direction) | interpret/<its direction>/…, finetune/<cell>/trajectory/… (run)
Writes  direction.npz      (direction) unit vectors (n_layers, d_model) float32, chosen layer, covariance factor
        layers.json        (direction) separation of the poles by layer, on questions kept apart
        projections.jsonl  records Projection: the base (step 0) or every checkpoint of the run
        readout.json       shift over the base's SD along the direction, and of each random direction
Exits   0 | 3 an adapter is missing, altered, or not of this model
"""

from common.job import Job, Read
from common.models import identity_of_cell
from common.spec import CellKind
from jobs import its_direction_if_run, its_poles_unless_run, itself_if_run

JOB = Job(
    "interpret",
    version=1,
    image="gpu",
    kinds=(CellKind.DIRECTION, CellKind.RUN),
    sections=("interpret",),
    reads=(
        Read("generate", its_poles_unless_run),
        Read("interpret", its_direction_if_run),
        Read("finetune", itself_if_run),
    ),
    writes=("direction.npz", "layers.json", "projections.jsonl", "readout.json"),
    data=("jobs/evaluate/data/items.jsonl",),
    outside=identity_of_cell,
)
