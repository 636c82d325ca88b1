"""Corrections teach: what people made of an agent's steps, as trajectories and as preference pairs.

``turns`` reads an episode's steps as examples, ``pairs`` what was refused beside what was done instead, ``privacy``
says which words may go out, ``lessons`` puts them together without a file, ``export`` reads journals and writes a
folder.
"""
