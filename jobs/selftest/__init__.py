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

and on two fine-tunes whose truth is known, because it was planted. In both, a bias along a direction that steers all
topics alike is written into the weights of the chosen block. In the second, as much is written along a direction that
steers none: that fine-tune moves along it, and nothing is caused by it.

  carried-share  along the first direction, what is put in, taken out and ablated closes the whole gap
  carried-rank   and comes nearer to it, topic by topic, than 20 null directions do
  decoy-moved    the second fine-tune is read along the second direction as far as it was moved
  decoy-share    what is put in or taken out along that direction closes nothing of the gap
  decoy-rank     and comes no nearer than null directions do
  cause-rank     pushing along the first direction moves margins more than null directions of equal off-target KL do
  inert-rank     pushing along the second does not

Reads   interpret/<cell>/direction.npz   generate/<its draw>/advice.jsonl
Writes  selftest.json   name, value, bound and verdict of each check
Exits   0 | 10 a check failed: sealed all the same, and nothing is measured on this cell
"""

from common.cells import CellKind, its_draw, itself, steered_directions
from common.lm.sources import MODEL
from common.pipeline.job import Job, Read
from common.stance.items import ITEMS, NEUTRAL
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
    data=(ITEMS, NEUTRAL),
    facts=(MODEL,),
)
