"""Would the instruments that look inside a model show something if it were there, and nothing if not?

On a direction cell, before anything is measured with them, on the base in fp32:

  zero-coefficient      adding nothing leaves every margin as it was, bit for bit
  shared-blocks  margins with lower blocks and prompts read once equal those of whole forward passes
  ablate-add     taking the component along the direction out and putting it back changes nothing
  planted-read   a bias along the direction, written into the weights of the chosen block, is read back in full
  planted-cause  adding the same vector to the base closes the whole gap to the planted one
  planted-taken  taking it out of the planted model closes it too
  patch-all      residuals of all positions after the last block carry the whole gap
  patch-none     and none of them nothing
  null-rate      directions from arms whose labels were shuffled, tested on other topics, pass at 5 % as often as they
                 should, within what chance allows
  hooks          an error inside leaves no hook behind

Reads   interpret/<cell>/direction.npz   generate/<its draw>/advice.jsonl
Writes  selftest.json   name, value, bound and verdict of each check
Exits   0 | 10 a check failed: sealed all the same, and nothing is measured on this cell
"""

from common.cells import CellKind, its_draw, itself, steered_directions
from common.lm.sources import MODEL
from common.pipeline.job import Job, Read
from common.stance.items import ITEMS
from jobs import version

JOB = Job(
    "selftest",
    version=version("selftest"),
    image="gpu",
    kinds=(CellKind.DIRECTION,),
    among=steered_directions,
    sections=("interpret", "steer"),
    reads=(Read("generate", its_draw, ("advice.jsonl",)), Read("interpret", itself, ("direction.npz",))),
    writes=("selftest.json",),
    data=(ITEMS,),
    facts=(MODEL,),
)
