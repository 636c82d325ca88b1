"""Supervised fine-tuning on trajectories: the cold start of the method.

``examples`` turns a trajectory into what the model reads and says, ``loop`` trains, ``acting`` measures on the way how
the model acts in whole episodes, not only its loss.
"""
