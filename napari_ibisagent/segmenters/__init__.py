"""Segmenters turn clicks into masks: one module each, with ``build(**options)``."""
