"""Training of the organisms, from nothing to a checkpoint with its card.

recipe          what is trained, as one immutable value
corpus          vocabulary and sentences
demonstrations  frames of the world, labelled by its expert for every goal and manner
network         the policy as modules, in OpenVLA's layout
vision          pre-training of the towers; reading of places
injection       words written into the residual stream (the planted kind)
fitting         optimiser, schedule, interruption and resumption
acting          co-training on demonstrations and sentences
curves          losses as a plot
train           the stages, in order
rollouts        held-out episodes and their words
candidates      features that a card chooses among
selection       how it chooses
card, card_text, model_card   the numbers of a card, and the card
seeds           cards of several trainings beside each other

Imports go from the bottom of this list upwards.
"""
