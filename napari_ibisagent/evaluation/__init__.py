"""How good a segmentation is, and made-up patients to measure it on."""
