"""Policies: the model classes behind `vlasteer.protocols.Policy`, one package per family.

Each family is found through the entry points `vlasteer.policies`. They import the core and never each other, nor a
simulator or a robot. What they share: `fields` reads a checkpoint's JSON, `weights` puts its
tensors into a module, both strictly.
"""
