"""Policies decide the next turn: one module each, with ``build(**options)``."""
