"""Step-by-step, language-driven segmentation of medical images that a radiologist can trust."""

__version__ = "0.1.0"
