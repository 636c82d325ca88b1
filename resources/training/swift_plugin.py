"""Tells ms-swift of our scheduler: named by ``external_plugins`` in the recipes beside this file."""

from __future__ import annotations

import os

from swift.rollout.multi_turn import multi_turns

from napari_ibisagent.training.rl.swift_scheduler import scheduler_class
from napari_ibisagent.training.rl.terms import read_terms

multi_turns["ibisagent"] = scheduler_class(read_terms(os.environ["IBISAGENT_TERMS"]))
