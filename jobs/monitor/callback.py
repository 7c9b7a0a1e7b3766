"""Stop a training of Hugging Face's Trainer when a monitor beside it says so. One file: copy it, or import it.

    trainer = Trainer(..., callbacks=[StopWhenTold("undertone-monitor")])

The folder is the monitor's --out: it writes `stop` there, with one line of reason, and this writes `done` at the end.
Both are taken away when a training begins. With several processes, the first one looks and tells the others, so that
all stop at the same step; the folder need be there for the first one alone.
"""

import logging
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class StopWhenTold(TrainerCallback):
    """Ends the training after the step in which the file `stop` appears. reason: its line; None: it never did."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.reason: str | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Take away what an earlier training left."""
        self.reason = None
        if state.is_world_process_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name in ("stop", "done"):
                (self.folder / name).unlink(missing_ok=True)
        return control

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Look for the file."""
        self.reason = self._told(args, state)
        if self.reason is not None:
            logging.getLogger(__name__).warning("stopped at step %d: %s", state.global_step, self.reason)
            control.should_training_stop = True
        return control

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Tell the monitor that nothing more will come."""
        if state.is_world_process_zero:
            (self.folder / "done").write_text(f"step {state.global_step}\n", encoding="utf-8")
        return control

    def _told(self, args: TrainingArguments, state: TrainerState) -> str | None:
        told = [_line(self.folder / "stop") if state.is_world_process_zero else None]
        if args.world_size > 1:
            import torch.distributed

            torch.distributed.broadcast_object_list(told, src=0)
        return told[0]


def _line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
