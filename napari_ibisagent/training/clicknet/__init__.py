"""The embedded click network: generated pictures, simulated clicks, the training loop and the export."""
