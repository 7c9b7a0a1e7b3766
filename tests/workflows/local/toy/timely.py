"""Says what it was given, waits, and ends with an exit code."""

import os
import sys
import time

import torch

print(os.environ.get("WORD"), os.getpid() == os.getsid(0), torch.get_num_threads(), file=sys.stderr, flush=True)
time.sleep(float(sys.argv[1]))
sys.exit(int(sys.argv[2]))
