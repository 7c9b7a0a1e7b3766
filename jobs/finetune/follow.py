"""A rank beside rank 0 of a fine-tune: `python -m jobs.finetune.follow`, started by jobs.finetune.ranks alone."""

import os
import signal
import sys
import threading
import time

import torch

from common.lm.load import load
from common.logs import Log
from common.pipeline.command import told
from jobs.finetune.ranks import tasks
from jobs.finetune.training import follow, join_ranks

SECONDS_BETWEEN_LOOKS = 1


def main() -> int:
    """Train as often as rank 0 says; return an exit code of the contract."""
    log = Log("finetune", f"rank {os.environ['RANK']}")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # rank 0 says when all stop, and keeps the checkpoint
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    try:
        join_ranks()
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        for task in tasks(sys.stdin.buffer):
            follow(load(task.model), task)
    except BaseException as error:
        return told(error, log)
    return 0


def _end_with(parent: int) -> None:
    """End when rank 0 is gone, whatever this process waits for."""
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(1)


if __name__ == "__main__":
    # Not by the interpreter's own end, which would wait for a group that rank 0 has left.
    sys.stderr.flush()
    os._exit(main())
