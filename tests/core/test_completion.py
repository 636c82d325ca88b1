"""Completions: the right ones, never within a word, always understood, and quick."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from napari_ibisagent.core.completion import MOST, complete
from napari_ibisagent.core.knowledge import read_knowledge, resolve
from napari_ibisagent.io.resources import resource

KNOWLEDGE = read_knowledge(resource("knowledge/anatomy.toml").read_text("utf-8"))


def offered(text, cursor=None):
    return complete(text, len(text) if cursor is None else cursor, KNOWLEDGE)


def test_sides_of_pairs():
    assert offered("segment the le")[:2] == ("segment the left kidney", "segment the left lung")
    assert offered("segment the kid") == ("segment the left kidney", "segment the right kidney", "segment the kidneys")
    assert offered("bo")[0] == "both kidneys"
    # "the both kidneys" is no English.
    assert not any("both" in text for text in offered("segment the bo"))


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("segment the liv", "segment the liver"),
        ("Segment The LIV", "Segment The liver"),
        ("segment the left  lu", "segment the left lung"),
        ("segment the right adrenal gl", "segment the right adrenal gland"),
        ("hepar, then the sple", "hepar, then the spleen"),
        ("one\ntwo spl", "one\ntwo spleen"),
    ],
)
def test_names(typed, first):
    assert offered(typed)[0] == first


def test_a_synonym_leads_to_the_usual_name():
    assert offered("hepa") == ("liver",)
    assert offered("segment the renal") == (
        "segment the left kidney",
        "segment the right kidney",
        "segment the kidneys",
    )
    assert offered("segment the tumo") == ("segment the lesion",)


def test_a_word_within_a_name():
    assert offered("segment the cava") == ("segment the inferior vena cava",)
    assert "segment the small bowel" in offered("segment the bowel")


@pytest.mark.parametrize(
    "typed",
    ["", "  ", "segment the ", "segment the liver", "the left kidney", "a tumour", "the nodule in", "l", "xyz"],
)
def test_nothing(typed):
    assert offered(typed) == ()


def test_the_cursor_decides():
    assert offered("segment the le please", 14)[0] == "segment the left kidney"
    assert offered("segment the le please", 13) == ()
    assert offered("", 0) == ()


def test_starters_and_questions():
    assert offered("seg") == ("segment the ",)
    assert offered("wh") == ("which organ ",)
    assert "which organ stores bile?" in offered("Which organ st".lower())
    assert offered("which organ stores bile?") == ()


def test_never_too_many():
    assert len(offered("left")) == MOST


def test_all_that_is_offered_is_understood():
    letters = "abcdefghijklmnopqrstuvwxyz"
    for beginning in ("segment the ", "which organ ", ""):
        for typed in (beginning + a + b for a in letters for b in letters):
            for sentence in offered(typed):
                if not sentence.endswith(" "):
                    assert resolve(sentence, KNOWLEDGE).target is not None, sentence


def test_it_is_quick():
    """Within 1 ms for 60 structures; measured at 0.2 ms."""
    many = (*KNOWLEDGE, *(replace(one, key=f"{one.key} 2", name=f"{one.name} two") for one in KNOWLEDGE))[:60]
    complete("segment the le", 14, many)
    start = time.perf_counter()
    for _ in range(100):
        complete("the one that is in the le", 25, many)
    assert time.perf_counter() - start < 0.5
