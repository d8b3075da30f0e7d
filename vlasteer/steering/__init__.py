"""Steering: features as values, their arithmetic, and mounting them inside a policy.

features  what is turned: named, weighted sets of neurons with their evidence
packs     features of one checkpoint in a JSON file
value     how far they are turned: an immutable `Steering`
scopes    where they act: at which positions of which passes
tables    a steering as numbers: gain and bias per row, position kind and neuron
mount     putting the numbers inside the model, and taking them out again
selftest  proof at load that steering reaches the action
"""

from vlasteer.steering.features import Feature, Operator, WeightedNeuron
from vlasteer.steering.mount import Port, steer
from vlasteer.steering.packs import FeaturePack
from vlasteer.steering.value import Quantile, Steering, Term

__all__ = ["Feature", "FeaturePack", "Operator", "Port", "Quantile", "Steering", "Term", "WeightedNeuron", "steer"]
