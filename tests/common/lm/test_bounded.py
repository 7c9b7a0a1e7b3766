"""A foreign program's memory is bounded in a process that has kept and given back much, too."""

import subprocess
import sys

from common.lm.bounded import BYTES

DOUBLING = """
import gc
import torch
from common.errors import InputError
from common.lm import bounded
from common.lm.runtime import keep_memory, return_memory

keep_memory()
blocks = [torch.ones(1 << 22) for _ in range(120)]
above = bytearray(1 << 20)  # so that the C library cannot give the address space back
del blocks
gc.collect()
return_memory()
had, text = bounded._memory(), "x"
assert had.size - had.resident > 3 * bounded.BYTES, had
try:
    with bounded.bounded("a text", "here"):
        while True:
            text += text
except InputError as error:
    print(error)
print(bounded._memory().resident - had.resident)
"""


def test_memory_that_was_kept_and_given_back_is_bounded_too() -> None:
    run = subprocess.run([sys.executable, "-c", DOUBLING], capture_output=True, text=True, check=True)
    said, more = run.stdout.splitlines()
    assert said == "a text takes too much memory, here; allowed: 512 MiB"
    assert int(more) < 2 * BYTES
