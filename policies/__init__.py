"""Policies: the model classes behind `vlasteer.protocols.Policy`, one package per family.

Each family is found through the entry points `vlasteer.policies`. They import the core and never each other, nor a
simulator or a robot. `weights` is what they share: putting a checkpoint's tensors into a module, strictly.
"""
