"""Propagators: how a mask is carried from its slice through the volume. One file each; its name is its key."""
