"""Look for a direction of caution in a base, and see whether fine-tuning moves along it.

On a direction cell (<model>.d<draw>): the direction is the mean over questions of cautious minus eager reply-token
activations of the base. Questions of a third of the topics make it. Those of another third choose the layer: the one
where a push along its direction, at one off-target KL for all layers, does most to cautious against eager replies. The
last layers are never chosen, nor is one that does not tell the poles apart on those questions, if another does. All
that is told of the layer is measured on the last third, which chose nothing.

On a run: residuals at every saved checkpoint, along that direction and along random ones, at two places: at the last
token of each held-out prompt, and, where the direction was made, at the tokens of replies: two were written to some
held-out items, one for each side, and are read together.

Random directions are Gaussian with the covariance of the base's residuals at the chosen layer: one sample
for each reply, its mean over tokens, less the mean of its pole, over all drawn questions; shrunk by Ledoit and Wolf.
They are the same for every checkpoint and every run of a direction.

Two checks go with the curve of layers. The user's turn is the same for both poles and comes before the reply, so the
poles cannot differ there: `user_accuracy`, the direction applied to its tokens, is 0.5 unless a pile's questions betray
its attitude. `shuffled_accuracy` is that of directions from questions half of which had their poles swapped.

Reads   generate/<its draw>/advice.jsonl (direction) | interpret/<its direction>/…, finetune/<cell>/trajectory/… (run)
Writes  direction.npz      (direction) unit vectors (n_layers, d_model) float32, chosen layer, base, covariance factor,
                           null directions
        layers.json        (direction) causal effect and separation of the poles by layer; probes of the
                           chosen layer beside probes of words, embeddings and length
        projections.jsonl  records Projection: the base (step 0) or every checkpoint of the run
        readout.json       shift over the base's SD along the direction, and of each random direction; on a run
                           also that of each topic, how the mean residual moved, (d_model,), and its cosine with the
                           direction; where replies moved, as a second vector: how it tells the poles apart
Exits   0 | 2 fewer questions than asked | 3 an adapter is missing, altered, or not of this model, or a model's type
        is unknown
Does not see: what the direction does; a readout is not a cause.
"""

from common.cells import CellKind, its_direction_if_run, its_draw_unless_run, itself_if_run
from common.lm.sources import MODEL
from common.pipeline.job import Job, Read
from common.stance.items import ADVISED, ITEMS, NEUTRAL
from jobs import version

JOB = Job(
    "interpret",
    version=version("interpret"),
    image="gpu",
    kinds=(CellKind.DIRECTION, CellKind.RUN),
    sections=("interpret",),
    reads=(
        Read("generate", its_draw_unless_run, ("advice.jsonl",)),
        Read("interpret", its_direction_if_run, ("direction.npz",)),
        Read("finetune", itself_if_run, ("trajectory/",)),
    ),
    writes=("direction.npz", "layers.json", "projections.jsonl", "readout.json"),
    data=(ITEMS, ADVISED, NEUTRAL),
    facts=(MODEL,),
)
