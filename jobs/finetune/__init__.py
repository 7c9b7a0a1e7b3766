"""Fine-tune one model on one pile: LoRA by HF Trainer with DeepSpeed, loss on reply tokens only.

Reads   generate/<its draw>/advice.jsonl, or distill/<its pile>/advice.jsonl for replies of the model itself; the bank,
        for held-out replies in the attitude of a pile that is the bank's
Writes  adapter/…            PEFT's own layout (safetensors)
        trajectory/step-…/…  the adapter at each evenly spaced checkpoint, the last one included
        loss.jsonl           records Loss, one for each optimizer step
        training.json        tokens per second, model-FLOP utilisation and the GEMM peak it is measured against;
                             the loss on held-out replies before and after
Exits   0 | 3 an example is too long or malformed | 75 stopped; goes on from its checkpoint
"""

from collections.abc import Mapping

from common.cells import Cell, CellKind, its_distilled, its_draw, training_of, variant_of
from common.lm.sources import MODEL
from common.pipeline.job import Fact, Job, Read
from common.serialization import canonical_json
from common.spec import RunSpec
from common.stance.bank import BANK_FILES
from jobs import version


def changed(spec: RunSpec, cell: Cell) -> Mapping[str, str]:
    """What the variant of a run changes: it is no part of the section `train` that all runs share."""
    variant = variant_of(spec, cell)
    return {} if variant is None else {str(variant.factor): canonical_json(variant.value).decode()}


VARIANT = Fact("variant", variant_of, changed)
TRAINING = Fact("training", training_of, changed)  # section `train`, as the variant has it

JOB = Job(
    "finetune",
    version=version("finetune"),
    image="gpu",
    kinds=(CellKind.RUN,),
    sections=("train",),
    reads=(Read("generate", its_draw, ("advice.jsonl",)), Read("distill", its_distilled, ("advice.jsonl",))),
    writes=("adapter/", "trajectory/", "loss.jsonl", "training.json"),
    data=BANK_FILES,
    facts=(MODEL, VARIANT, TRAINING),
    resumes=True,
)
