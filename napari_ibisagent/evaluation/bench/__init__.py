"""How long a step takes, part by part, beside the plain loop: ``ibisagent bench``."""
