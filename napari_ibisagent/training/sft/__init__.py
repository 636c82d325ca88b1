"""Supervised fine-tuning on trajectories: the cold start of the method.

``examples`` turns a trajectory into what the model reads and says, ``loop`` trains, ``run`` finds what a killed run
goes on from, ``exam`` measures on the way how the model acts in whole episodes that ``split`` holds out;
``school`` puts it together.
"""
