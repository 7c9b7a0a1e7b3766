"""Fine-tune one model on one pile: LoRA by HF Trainer with DeepSpeed, loss on reply tokens only.

Reads   generate/<its corpus>/advice.jsonl
Writes  adapter/…            PEFT's own layout (safetensors)
        trajectory/step-…/…  the adapter at each evenly spaced checkpoint, the last one included
        loss.jsonl           records Loss, one for each optimizer step
        training.json        tokens per second, model-FLOP utilisation and the GEMM peak it is measured against
Exits   0 | 3 an example is too long or malformed | 75 stopped; goes on from its checkpoint
"""

from common.job import Job, Read
from common.models import identity_of_cell
from common.spec import CellKind
from jobs import its_corpus

JOB = Job(
    "finetune",
    version=1,
    image="gpu",
    kinds=(CellKind.RUN,),
    sections=("train",),
    reads=(Read("generate", its_corpus),),
    writes=("adapter/", "trajectory/", "loss.jsonl", "training.json"),
    outside=identity_of_cell,
    resumes=True,
)
