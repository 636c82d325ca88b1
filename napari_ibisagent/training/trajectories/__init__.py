"""Trajectories: episodes written out, from which an agent learns.

``form`` is what one is and how it is stored; ``official`` reads and writes the forms of the published code.
``exercises`` are what is played, ``simulate`` plays one with a click tool, ``filters`` says which are of use,
``writing`` keeps a folder of them, and ``synthesis`` makes many with several processes.
"""
