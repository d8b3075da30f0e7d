"""What Pi0 and Pi0-FAST share: both are PaliGemma (Beyer et al. 2024) with another way out of it.

normalization  statistics, and values to and from the scale of training
conventions    what actions mean: LIBERO, UR5, DROID
checkpoint     what a checkpoint says about itself, whoever wrote it
lerobot        the folder that lerobot writes, read as such a checkpoint
images         a frame as pixel values
tokenizer      PaliGemma's tokenizer
observations   observations as arrays for the model, and its answers as actions
backbone       PaliGemma and Gemma of transformers: configuration, weights, prefix, sites, token basis

Imports go from the bottom of this list upwards.
"""
