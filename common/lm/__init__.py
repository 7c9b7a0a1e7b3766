"""What runs models: load and chat, layers and hooks, activations, generation, writing, likelihood, margins.

Shapes stand in the signatures, with these names of axes:

row         a text of a batch
column      a position that the pass at hand reads
length      all positions of a row: those read before, kept in a cache, and the columns
kept        the last columns, after which logits are wanted
vocabulary  token ids
d_model     components of the residual stream
n_…         so many of them, as n_prompts
"""
