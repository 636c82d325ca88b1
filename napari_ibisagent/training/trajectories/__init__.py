"""Trajectories: episodes written out, from which an agent learns.

``form`` is what one is and how it is stored; ``official`` reads and writes the forms of the published code, ``parquet``
one file for bulk, and ``exchange`` turns one form into another.
``exercises`` are what is played, ``cases`` makes them of scans and their masks (``truths`` chooses slices, ``asking``
finds more to ask); ``simulate`` plays one with a click tool, ``playing`` all of a unit, ``filters`` says which are of
use. ``writing`` keeps a folder of them (``lines``, ``settings``), and ``synthesis`` makes many with several processes.
"""
