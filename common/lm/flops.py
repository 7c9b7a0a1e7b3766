"""Floating-point operations of a token for each weight of its matrix products. Imports no torch.

Forward costs 2, the gradient of activations 2, the gradient of weights 2 where they are trained.
Source: Kaplan et al. (2020), appendix B; LoRA leaves out the frozen weights' gradient.
"""

FORWARD = 2
FROZEN = 4  # forward and backward through a weight that is not trained
TRAINED = 6
