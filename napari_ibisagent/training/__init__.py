"""Training: how the agent's parts learn. Needs the ``train`` extra (torch); nothing below imports it."""
