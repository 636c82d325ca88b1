"""Completions over the whole knowledge base: the right ones first, never within a word, always understood, quick."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from itertools import product
from string import ascii_lowercase

import pytest

from napari_ibisagent.core.completion import MOST, complete
from napari_ibisagent.core.completion_index import NameIndex
from napari_ibisagent.core.knowledge import resolve
from napari_ibisagent.io.knowledge import load_knowledge

KNOWLEDGE = load_knowledge()


def offered(text, cursor=None):
    return complete(text, len(text) if cursor is None else cursor, KNOWLEDGE)


def names(text):
    """What is offered for "segment the " and the text, without "segment the "."""
    return tuple(sentence.removeprefix("segment the ") for sentence in offered(f"segment the {text}"))


def is_understood(sentence):
    found = resolve(sentence, KNOWLEDGE)
    return found.target is not None or bool(found.choices)


# -- which are offered ---------------------------------------------------------------------------------------


def test_sides_of_pairs():
    assert names("le")[:3] == ("left kidney", "left lung", "left adrenal gland")
    assert names("kid") == names("kidney") == ("left kidney", "right kidney", "kidneys")
    assert offered("bo")[0] == "both kidneys"
    # "the both kidneys" is no English.
    assert not any("both" in name for name in names("bo"))


def test_pairs_of_which_there_are_many_or_that_are_a_mass():
    assert names("rib") == ("left ribs", "right ribs", "ribs")
    assert offered("all ri") == ("all ribs",)
    assert names("cerebral cor") == ("left cerebral cortex", "right cerebral cortex", "cerebral cortex")


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("segment the liv", "segment the liver"),
        ("Segment The LIV", "Segment The liver"),
        ("segment the left  lu", "segment the left lung"),
        ("segment the right adrenal gl", "segment the right adrenal gland"),
        ("the liver and the sple", "the liver and the spleen"),
        ("segment\nthe spl", "segment\nthe spleen"),
        ("segment the cyst in the left kid", "segment the cyst in the left kidney"),
        ("the large bright sple", "the large bright spleen"),
        ("segment the at", "segment the atelectasis"),
    ],
)
def test_names(typed, first):
    assert offered(typed)[0] == first


@pytest.mark.parametrize(
    ("typed", "first"),
    [("sp", "spleen"), ("pa", "pancreas"), ("he", "heart"), ("bl", "urinary bladder"), ("th", "thyroid gland")],
)
def test_main_organs_come_first(typed, first):
    assert names(typed)[0] == first


def test_a_name_comes_before_a_synonym_and_a_synonym_before_a_word_within():
    found = names("renal")
    assert found[0] == "left renal artery"
    assert names("hepa").index("hepatic vein") < names("hepa").index("liver")
    found = names("tum")
    assert found[0] == "tumour"
    assert "liver tumour" in found


def test_a_synonym_leads_to_the_usual_name():
    assert names("gul") == ("oesophagus",)
    assert names("hepar") == ()
    assert names("large bo") == ("colon",)
    assert "inferior vena cava" in names("iv")
    assert offered("rib ca") == ("ribs",)


def test_both_spellings_lead_to_the_same():
    assert names("eso")[0] == names("oes")[0] == "oesophagus"
    assert names("intracranial hem") == names("intracranial haem") == ("intracranial haemorrhage",)
    assert names("foetal hea") == names("fetal hea") != ()


def test_a_name_that_goes_on_from_another_waits_for_it():
    assert "kidney stone" in names("kidney ")
    assert "liver segment 1" in names("liver ")
    assert names("liver seg")[0] == "liver segment 1"
    # "Adrenal" is a name as well, but of the same gland.
    assert "left adrenal gland" in names("left adr")


def test_plurals_where_the_singular_is_no_longer_typed():
    assert "teeth" in names("tee")
    assert "liver metastases" not in names("liver meta")
    assert names("liver metastase") == ("liver metastases",)


def test_a_word_within_a_name():
    assert names("cava") == ("inferior vena cava", "superior vena cava")
    assert names("bowel")[:2] == ("small bowel", "colon")
    assert "left upper lobe of the lung" in offered("left lobe")
    # The liver is no way to what is a part of it.
    assert not any(" of the " in name for name in names("liv"))


@pytest.mark.parametrize("structure", [one for one in KNOWLEDGE if one.members], ids=lambda one: one.key)
def test_a_name_that_fits_several_things_leads_to_them(structure):
    choices = resolve(f"segment the {structure.name}", KNOWLEDGE).choices
    assert set(names(structure.name)) & set(choices)
    assert structure.name not in names(structure.name[:-1])


def test_every_structure_is_found_by_its_name():
    """With the most letters at the latest, it is among those offered."""

    def ways(structure):
        found = (names(structure.name[:at]) for at in range(len(structure.name), 1, -1))
        return any(resolve(name, KNOWLEDGE).structure is structure for offer in found for name in offer)

    lost = [one.name for one in KNOWLEDGE if not one.members and not ways(one)]
    # With two letters seven others come before it, and with three nothing is left to add.
    assert lost == ["lip"]


# -- where nothing is offered --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "  ",
        "segment the ",
        "segment the liver",
        "segment the lumbar spine",
        "the left kidney",
        "a tumour",
        "the nodule in",
        "l",
        "xyz",
        "find",
        "the nodule of the",
    ],
)
def test_nothing(typed):
    assert offered(typed) == ()


@pytest.mark.parametrize(
    "typed", ["segment the left spl", "both live", "segment the brain splee", "all lobe of the live", "not the liv"]
)
def test_nothing_that_would_be_refused(typed):
    assert offered(typed) == ()


def test_only_what_is_understood_with_what_stands_before():
    found = offered("segment the kidneys without the renal")
    assert "segment the kidneys without the renal arteries" in found
    # One side can't be left out.
    assert not any("left" in sentence for sentence in found)


def test_the_cursor_decides():
    assert offered("segment the le please", 14)[0] == "segment the left kidney"
    assert offered("segment the le please", 13) == ()
    assert offered("", 0) == ()


def test_never_too_many():
    assert len(offered("left")) == MOST


# -- starters and questions ----------------------------------------------------------------------------------


def test_starters():
    assert offered("seg") == ("segment the ",)
    assert offered("wh") == ("which organ ",)


def test_questions():
    assert "which organ stores bile?" in offered("which organ st")
    assert offered("which organ stores bile?") == ()
    # A question goes on as one, and is no place for a name.
    assert offered("which organ left") == ()


@pytest.mark.parametrize("noun", ["mus", "bones", "nerves", "arteries", "veins", "cells", "its", "clots", "lens"])
def test_descriptions_without_a_verb_are_no_questions(noun):
    assert any(relation.startswith(noun) for one in KNOWLEDGE for relation in one.relations)
    assert offered(f"which organ {noun}") == ()


def test_every_question_is_understood():
    verbs = {relation[:at] for one in KNOWLEDGE for relation in one.relations for at in (2, 5, 8, 15, -1)}
    questions = {question for verb in verbs for question in offered(f"which organ {verb}")}
    assert len(questions) > 150
    assert [question for question in questions if not is_understood(question)] == []


# -- always understood, and quick ----------------------------------------------------------------------------


@cache
def two_letters():
    return tuple("".join(pair) for pair in product(ascii_lowercase, repeat=2))


@pytest.mark.parametrize(
    "beginning", ["segment the ", "", "the left ", "both ", "all ", "please show me a ", "the mass beside the "]
)
def test_all_that_is_offered_is_understood(beginning):
    found = {sentence for letters in two_letters() for sentence in offered(beginning + letters)}
    assert len(found) > 60
    assert [sentence for sentence in found if not sentence.endswith(" ") and not is_understood(sentence)] == []


def test_each_way_by_itself_is_understood():
    """What the index holds, also where it is never among the first few: no offer depends on the check at the end."""
    index = NameIndex(KNOWLEDGE)
    phrases = {way.phrase for letters in two_letters() for way in index.beginning(letters)}
    assert len(phrases) > 1500
    assert [phrase for phrase in phrases if not is_understood(f"segment the {phrase}")] == []


def test_it_answers_at_every_key():
    """Measured over all pairs of letters: 0.1 ms in the middle and 1 ms for the slowest of twenty."""
    offered("xyzzy, the liv")
    taken = []
    for letters in two_letters():
        start = time.perf_counter()
        offered("segment the " + letters)
        taken.append(time.perf_counter() - start)
    assert sorted(taken)[int(0.95 * len(taken))] < 0.01


def test_a_sentence_that_is_not_understood_costs_little():
    sentence = "it has leaked quite far into the wrong partt and swallowd the le"
    offered(sentence)
    start = time.perf_counter()
    for _ in range(10):
        assert offered(sentence) == ()
    assert time.perf_counter() - start < 1.0


def test_a_base_is_indexed_once():
    other = tuple(replace(one, name=f"{one.name} two", synonyms=()) for one in KNOWLEDGE[:3])
    assert complete("liver t", 7, other) == ("liver two",)
    assert offered("liv")[0] == "liver"
    start = time.perf_counter()
    for _ in range(10):
        complete("liver t", 7, other)
        offered("liv")
    # Indexing the whole base alone takes 60 ms.
    assert time.perf_counter() - start < 0.3
