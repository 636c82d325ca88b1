"""Checkpoints of published models: their profiles, where they lie, how they are fetched, bundled and verified."""
