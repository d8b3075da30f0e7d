"""Running studies, and what is made of their results.

running         conditions times episodes as rows of one batch
counterfactual  the same observations, answered under every condition
published       figures that others have published, for the checkpoint that they were measured on
figures         pictures like the paper's
report          all of it on one page

What a study consists of, and its statistics, are in `vlasteer.studies`.
"""
