"""Says what it found in memory, and how many threads the process has that forked it."""

import json
import os
import sys

import psutil

found = {name: name in sys.modules for name in ("torch", "deepspeed")}
print(json.dumps({**found, "threads of the server": psutil.Process(os.getppid()).num_threads()}), file=sys.stderr)
