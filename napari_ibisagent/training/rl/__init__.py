"""Reinforcement learning over whole episodes: the runner plays, every turn of the agent's learns.

``loop`` is a small reference loop (GRPO) that runs on two cores; ``advantages`` is its arithmetic.
"""
