"""Words for training: thoughts say what is seen and nothing else; questions lead back to what they were made from."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from napari_ibisagent.core.actions import Click, Terminate, Turn
from napari_ibisagent.core.dialects import ibis
from napari_ibisagent.core.errors import BackendError, DialectError, InputError
from napari_ibisagent.core.knowledge import Structure, resolve
from napari_ibisagent.core.target import Side, Target
from napari_ibisagent.io.knowledge import load_knowledge
from napari_ibisagent.training.trajectories.form import Trajectory, TrajectoryStep
from napari_ibisagent.training.words import Kind, absent, absent_answer, answer, plain, reasoning, referring, thought
from napari_ibisagent.training.words import brief as short
from napari_ibisagent.training.words import sentences as full
from napari_ibisagent.training.words.places import PLACES, Lie, extent, mask_place, place, relation
from napari_ibisagent.training.words.relations import Form, told
from napari_ibisagent.training.words.teacher import problem, rewrite, served

KNOWLEDGE = load_knowledge()
BY_KEY = {one.key: one for one in KNOWLEDGE}
TARGETS = ("liver", "left kidney", "both kidneys", "the spleen", "inferior vena cava", "left upper lobe of the lung")
SHAPE = (60, 80)
CLICKING = (Kind.FIRST, Kind.MISSED, Kind.SPILLED)
NUMBERS = {"two", "three", "four", "five", "ten", "half", "percent", "iou", "dice", "pixel", "pixels"}
ANY = "|".join(sorted(PLACES, key=len, reverse=True))
PICTURE = re.compile(rf"the ({ANY})(?: part)? of the picture|picture's ({ANY})\b")


def ellipse(row=30, column=40, tall=12, wide=16):
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return ((rows - row) / tall) ** 2 + ((columns - column) / wide) ** 2 <= 1


def rng(seed=0):
    return np.random.default_rng(seed)


def without(text, target):
    return re.sub(re.escape(target), " ", text, flags=re.IGNORECASE)


MASKS = st.one_of(
    st.none(),
    st.just(np.zeros(SHAPE, bool)),
    st.just(np.ones(SHAPE, bool)),
    st.builds(ellipse, st.integers(0, 59), st.integers(0, 79), st.integers(1, 40), st.integers(1, 60)),
)
FRACTION = st.floats(0, 1)
SEED = st.integers(0, 2**32 - 1)


@st.composite
def seen(draw):
    """A kind of turn with a mask and a click that it can have."""
    kind, mask = draw(st.sampled_from(Kind)), draw(MASKS)
    positive = kind is not Kind.SPILLED if kind in CLICKING else draw(st.booleans())
    click = Click(draw(FRACTION), draw(FRACTION), positive)
    if kind not in CLICKING and (kind in (Kind.DONE, Kind.ABSENT) or draw(st.booleans())):
        click = None
    assume(kind not in (Kind.DONE, Kind.DISCARD) or (mask is not None and mask.any()))
    return kind, mask, click


# -- thoughts ----------------------------------------------------------------------------------------------


@settings(max_examples=400, deadline=None, derandomize=True)
@given(seen(), st.sampled_from(TARGETS), SEED, st.booleans())
def test_a_thought_names_the_places_that_are_seen_and_no_number(state, target, seed, brief):
    kind, mask, click = state
    said = thought(kind, target, SHAPE, mask, click, rng(seed), brief)
    rest = without(said, target).lower()
    assert not re.search(r"[\d<>{}|]", rest)
    assert not NUMBERS & set(re.findall(r"[a-z]+", rest))
    assert said[0].isupper() and said[-1] == "." and "  " not in said
    named = {first or second for first, second in PICTURE.findall(said)}
    here = {place(click.x, click.y)} if click is not None else set()
    there = {mask_place(mask)} if mask is not None and mask.any() else set()
    assert named <= here | there
    if kind in CLICKING:
        assert here <= named
    # A side is the picture's or the mask's, and the sentence says so.
    if re.search(r"\b(left|right)\b", rest.replace("left out", "").replace("left free", "")):
        assert "picture" in rest or "mask" in rest


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seen(), SEED, st.booleans())
def test_what_is_seen_makes_the_thought_and_nothing_else(state, seed, brief):
    """Whatever the truth is, the same picture gives the same thought: no truth goes in."""
    kind, mask, click = state
    again = None if mask is None else mask.copy()
    first, second = (thought(kind, "liver", SHAPE, seen, click, rng(seed), brief) for seen in (mask, again))
    assert first == second
    parameters = list(inspect.signature(thought).parameters)
    assert parameters == ["kind", "target", "shape", "mask", "click", "rng", "brief"]


def test_thoughts_vary():
    mask, on, off = ellipse(), Click(0.5, 0.5, False), Click(0.1, 0.1, True)
    states = {
        Kind.FIRST: (None, off),
        Kind.MISSED: (mask, off),
        Kind.SPILLED: (mask, on),
        Kind.DONE: (mask, None),
        Kind.REVERT: (mask, None),
        Kind.DISCARD: (mask, None),
        Kind.ABSENT: (None, None),
    }
    for kind, (drawn, click) in states.items():
        assert len({thought(kind, "liver", SHAPE, drawn, click, rng(n)) for n in range(300)}) >= 15, kind
        assert 3 <= len({thought(kind, "liver", SHAPE, drawn, click, rng(n), True) for n in range(60)}) <= 4, kind
    tables = [full.FIRST, full.MISSED, full.HELD, full.SPILLED, full.KEPT_OUT, full.DONE, full.REVERT, full.DISCARD]
    assert all(len(table) >= 8 for table in (*tables, full.REVERT_EMPTY, full.MISSED_EMPTY, full.ABSENT))


@pytest.mark.parametrize(
    ("x", "y", "word"),
    [(0.0, 0.0, "upper left"), (0.5, 0.1, "top"), (1.0, 1.0, "lower right"), (0.5, 0.5, "centre"), (0.1, 0.5, "left")],
)
def test_a_picture_has_nine_places(x, y, word):
    assert place(x, y) == word
    assert f"picture's {word}." in thought(Kind.FIRST, "liver", SHAPE, None, Click(x, y, True), rng(), brief=True)


def test_how_a_click_lies_to_a_mask():
    mask = ellipse()
    mask[28:33, 38:43] = False
    lies = {
        Lie.HOLE: (40, 30, "centre"),
        Lie.ON: (32, 30, "left"),
        Lie.EDGE: (55, 30, "right"),
        Lie.BESIDE: (57, 30, "right"),
        Lie.APART: (75, 55, "lower right"),
    }
    for lie, (column, row, side) in lies.items():
        found = relation(Click((column + 0.5) / 80, (row + 0.5) / 60, True), mask)
        assert (found.lie, found.side) == (lie, side)
    assert relation(Click(1, 1, False), np.ones(SHAPE, bool)).lie is Lie.ON
    with pytest.raises(ValueError, match="empty mask"):
        mask_place(np.zeros(SHAPE, bool))


def test_the_size_of_a_mask_in_words():
    assert extent(ellipse(tall=1, wide=1)) == "tiny"
    assert extent(ellipse(tall=2, wide=12)) == "small and wide"
    assert extent(ellipse(tall=25, wide=8)) == "large and tall"
    assert mask_place(ellipse(tall=40, wide=60)) == ""
    assert mask_place(ellipse(row=5, tall=4, wide=4)) == "top"


def test_missed_and_spilled_follow_the_mask():
    """A mask is said to spill only where it is, and to miss only where it isn't."""
    mask, on, off = ellipse(), (0.5, 0.5), (0.05, 0.95)
    for seed in range(200):
        held = thought(Kind.MISSED, "liver", SHAPE, mask, Click(*on, True), rng(seed))
        kept_out = thought(Kind.SPILLED, "liver", SHAPE, mask, Click(*off, False), rng(seed))
        assert not re.search(r"\b(misses|missing|uncovered|falls short|too early|leaves out)\b", held)
        assert not re.search(r"\b(spills|spilled|leaks|too much|too far|has to go)\b", kept_out)
        assert "negative" not in thought(Kind.MISSED, "liver", SHAPE, mask, Click(*off, True), rng(seed))
        assert "positive" not in thought(Kind.SPILLED, "liver", SHAPE, mask, Click(*on, False), rng(seed))
        given = thought(Kind.FIRST, "liver", SHAPE, mask, Click(*on, False), rng(seed))
        assert given == thought(Kind.SPILLED, "liver", SHAPE, mask, Click(*on, False), rng(seed))


def test_brief_thoughts_have_few_words_and_short_sentences():
    vocabulary = set()
    masks = [None, ellipse()]
    for kind in Kind:
        for mask in masks:
            clicks = [Click(x, y, s) for x in (0.1, 0.5, 0.9) for y in (0.1, 0.5, 0.9) for s in (True, False)]
            for click in [None, *clicks]:
                for seed in range(12):
                    try:
                        said = [thought(kind, name, SHAPE, mask, click, rng(seed), True) for name in TARGETS]
                    except ValueError:
                        continue
                    assert all(len(text.split()) <= short.MOST_WORDS for text in said), said
                    vocabulary |= set(re.findall(r"[a-z']+", without(said[0], "liver").lower()))
                    assert "upper lobe" not in said[-1]
    assert 40 <= len(vocabulary) <= 150


@pytest.mark.parametrize(
    ("kind", "mask", "click", "message"),
    [
        (Kind.FIRST, None, None, "needs its click"),
        (Kind.MISSED, ellipse(), Click(0.5, 0.5, False), "sign"),
        (Kind.SPILLED, ellipse(), Click(0.5, 0.5, True), "sign"),
        (Kind.FIRST, None, Click(0.5, 0.5, False), "sign"),
        (Kind.DONE, None, None, "is about a mask"),
        (Kind.DISCARD, np.zeros(SHAPE, bool), None, "is about a mask"),
        (Kind.DONE, np.ones((3, 3), bool), None, "shape"),
    ],
)
def test_a_turn_that_lacks_what_it_is_about(kind, mask, click, message):
    with pytest.raises(ValueError, match=message):
        thought(kind, "liver", SHAPE, mask, click, rng())
    with pytest.raises(ValueError, match="name"):
        thought(Kind.ABSENT, " ", SHAPE, None, None, rng())


# -- answers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_answers_are_told_apart(target):
    for seed in range(40):
        gone = Turn("", (Terminate(),), absent_answer(target, rng(seed)))
        assert gone.says_absent and ibis.parse(ibis.render(gone)).says_absent
        assert target in gone.answer
        found = Turn("", (Terminate(),), answer(target, rng(seed)))
        assert not found.says_absent and target.removeprefix("the ") in found.answer


# -- requests ----------------------------------------------------------------------------------------------


def test_referring_requests_are_understood():
    chooser = rng(1)
    known = [one for one in KNOWLEDGE if not one.members]
    said = set()
    for _ in range(600):
        one = known[int(chooser.integers(len(known)))]
        sides = (Side.LEFT, Side.RIGHT, Side.BOTH) if one.paired else (Side.NONE,)
        target = Target(one.name, one.key, sides[int(chooser.integers(len(sides)))], one.code)
        if resolve(f"segment {target.phrase}", KNOWLEDGE).target != target:
            continue  # a name that the base itself asks back about
        request = referring(target.full_name, chooser)
        assert resolve(request, KNOWLEDGE).target == target, request
        said.add(without(request, target.full_name).lower())
    assert len(said) > 100
    assert not {"i need", "i want"} & {" ".join(referring("liver", rng(n)).split()[:2]) for n in range(300)}


def test_reasoning_requests_lead_back_to_their_structure():
    chooser, said = rng(2), set()
    for one in KNOWLEDGE:
        for side in (Side.LEFT, Side.RIGHT, Side.BOTH) if one.paired else (Side.NONE,):
            question = reasoning(one, side, KNOWLEDGE, chooser)
            if question is None:
                continue
            found = resolve(question, KNOWLEDGE).target
            assert (found.key, found.side) == (one.key, side), question
            assert question[0].isupper() and question[-1] in ".?" and not re.search(r" [?.]|  |[?.]\w", question)
            said.add(question)
    assert len(said) >= 500
    assert reasoning(Structure("nothing", "nothing"), Side.NONE, KNOWLEDGE, rng()) is None


def test_reasoning_requests_are_the_same_for_the_same_seed_and_vary():
    one = BY_KEY["kidney"]
    assert reasoning(one, Side.LEFT, KNOWLEDGE, rng(5)) == reasoning(one, Side.LEFT, KNOWLEDGE, rng(5))
    questions = {reasoning(one, Side.LEFT, KNOWLEDGE, rng(seed)) for seed in range(60)}
    assert len(questions) > 30 and all("left" in question for question in questions)


@pytest.mark.parametrize(
    ("relation_text", "form", "noun", "does"),
    [
        ("stores bile", Form.DOES, "", "stores bile"),
        ("artery supplies the kidney", Form.WHO_DOES, "artery", "supplies the kidney"),
        ("veins drain the liver", Form.WHO_DOES, "veins", "drain the liver"),
        ("bone that holds the inner ear", Form.NOUN, "bone that holds the inner ear", ""),
        ("carries oxygen rich blood", Form.DOES, "", "carries oxygen-rich blood"),
        ("hard tissue rich in calcium", Form.NOUN, "hard tissue rich in calcium", ""),
        ("seahorse shaped", Form.IS, "", "seahorse-shaped"),
        ("thin membrane lines the lung", Form.WHO_DOES, "thin membrane", "lines the lung"),
        ("branching red lines of the retina", Form.NOUN, "branching red lines of the retina", ""),
    ],
)
def test_relations_are_told_apart(relation_text, form, noun, does):
    found = told(relation_text)
    assert (found.form, found.noun, found.does) == (form, noun, does)


@pytest.mark.parametrize(
    "text", ["fetus grows in it", "gas exchange", "nutrients are absorbed", "one of the bones", ""]
)
def test_relations_that_make_no_sentence(text):
    assert told(text) is None


# -- what isn't there --------------------------------------------------------------------------------------


def asked_for(shown, missing=(), modality="CT", times=80, across=True):
    chooser = rng(7)
    return [absent(shown, missing, modality, KNOWLEDGE, chooser, across) for _ in range(times)]


def structures(names):
    return [resolve(f"segment {Target(name).phrase}", KNOWLEDGE).structure for name in names]


def test_an_absent_target_is_far_from_what_is_shown():
    found = structures(asked_for(["liver", "left kidney"]))
    assert all(one is not None for one in found) and len({one.key for one in found}) > 30
    for one in found:
        assert not {"chest", "abdomen", "pelvis"} & set(one.regions), one.name
    for one in structures(asked_for(["liver"], across=False, modality="")):
        assert set(one.regions) == {"head"}


def test_what_is_known_to_be_missing_is_preferred():
    found = asked_for(["liver"], ["spleen", "liver"])
    assert 20 < found.count("spleen") < 65 and "liver" not in found
    assert set(asked_for(["a thing"], ["spleen"], "")) == {"spleen"}


def test_nothing_is_inferred_where_nothing_is_sure():
    assert set(asked_for(["a thing"], (), "")) == {None}
    assert set(asked_for((), (), "")) == {None}
    assert set(asked_for(["fetal head"], (), "")) == {None}
    assert set(asked_for(["left femur"], (), "")) == {None}
    assert set(asked_for(["polyp"], (), "")) != {None}
    # The eye is in a scan of the head, and organs are what slides are made of.
    assert not any("eye" in one.regions for one in structures(asked_for(["brain"], (), "MR")))
    assert not {"liver", "kidney", "prostate"} & set(asked_for(["cell"], (), "histology", 300))


@pytest.mark.parametrize(("modality", "shown"), [("fundus", "optic disc"), ("dermoscopy", "skin lesion"), ("OCT", "x")])
def test_a_picture_of_a_surface_shows_nothing_of_the_inside(modality, shown):
    for one in structures(asked_for([shown], (), modality)):
        assert modality not in one.seen_in and not {"eye", "skin", "cell"} & set(one.regions)


# -- plain questions ---------------------------------------------------------------------------------------


def test_plain_questions_are_answered_in_words():
    chooser, said = rng(3), set()
    for _ in range(400):
        question, reply = plain(KNOWLEDGE, chooser)
        assert resolve(question, KNOWLEDGE).target is None
        assert question[0].isupper() and question[-1] in "?." and reply[0].isupper() and reply[-1] == "."
        assert not re.search(r"[<>{}|]|  ", question + reply)
        with pytest.raises(DialectError):
            ibis.parse(reply)
        said.add(question)
    assert len(said) > 250
    with pytest.raises(ValueError, match="No plain question"):
        plain((Structure("nothing", "nothing"),), rng())


def test_plain_answers_are_right():
    replies = dict(plain(tuple(one for one in KNOWLEDGE if one.key == "gallbladder"), rng(seed)) for seed in range(80))
    assert (
        replies["What does the gallbladder do?"]
        .removeprefix("It")
        .removeprefix("The gallbladder")
        .startswith((" stores bile", " holds bile", " keeps and", " is the small sac that holds bile"))
    )
    assert "right" in replies["Is the gallbladder on the left or on the right?"]
    assert replies["How many gallbladders does a person have?"].endswith("one gallbladder.")


# -- the teacher -------------------------------------------------------------------------------------------

THOUGHT = "The mask misses a part just beyond the mask's left edge, in the left of the picture. I add a positive click."
GOOD = "In the left of the picture the left border of the green area falls short of the left kidney; a positive click."


def story(*thoughts, target="left kidney"):
    steps = tuple(TrajectoryStep(Turn(text, (Click(0.1, 0.5, True),)), learn=True) for text in thoughts)
    return Trajectory("one", f"segment the {target}", target, SHAPE, steps)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (GOOD, ""),
        ("", "empty"),
        ("In the left of the picture, 3 parts are missing.", "number"),
        ("In the left of the picture, two parts are missing.", "number"),
        ("<action>Terminate</action> in the left.", "tag"),
        ("In the left of the picture " + "really " * 60, "more than"),
        ("In the upper left of the picture something is missing.", "another place"),
        ("Something is missing from the left kidney.", "say where"),
        ("In the left of the picture I set a negative click.", "sign"),
        ("In the left of the picture the spleen was taken for the kidney.", "structure"),
    ],
)
def test_a_rewritten_thought_is_checked(said, reason):
    assert reason in problem(said, THOUGHT, "left kidney", KNOWLEDGE) and bool(reason) == bool(
        problem(said, THOUGHT, "left kidney", KNOWLEDGE)
    )


def test_a_name_with_a_number_is_no_number():
    assert problem("I click the T12 vertebra.", "The T12 vertebra.", "T12 vertebra", KNOWLEDGE) == ""


def test_what_the_teacher_may_not_say_is_kept_as_it_was():
    answers = iter([f'"{GOOD}"', "The IoU is 0.7.", f"<think>Hm, 3 ways.</think>\n{GOOD}"])
    before = story(THOUGHT, THOUGHT, "", THOUGHT)
    after = rewrite(before, lambda messages: next(answers), KNOWLEDGE)
    assert [step.turn.thought for step in after.trajectory.steps] == [GOOD, THOUGHT, "", GOOD]
    assert (after.accepted, after.refused) == (2, 1) and "number" in after.refusals[0]
    assert [step.turn.actions for step in after.trajectory.steps] == [step.turn.actions for step in before.steps]


def test_a_teacher_behind_a_server(monkeypatch):
    pytest.importorskip("openai", reason="the extra remote is not installed")
    from chat_server import serving

    for name in ("URL", "MODEL", "KEY", "ALLOW_REMOTE_HOST"):
        monkeypatch.delenv(f"IBISAGENT_SERVER_{name}", raising=False)
    with serving(GOOD, "In the left there is the spleen, I think.", 500) as server:
        ask = served(server.url, retries=0, stall_s=5.0)
        after = rewrite(story(THOUGHT, THOUGHT), ask, KNOWLEDGE)
        assert [step.turn.thought for step in after.trajectory.steps] == [GOOD, THOUGHT]
        assert (after.accepted, after.refused) == (1, 1) and "spleen" in after.refusals[0]
        # Words only, one thought at a time, to the one model that is served.
        assert server.listed == 1 and len(server.asked) == 2
        for body in server.asked:
            assert body["model"] == "tiny" and all(isinstance(said["content"], str) for said in body["messages"])
            assert "0.1" not in str(body["messages"])
        with pytest.raises(BackendError):
            rewrite(story(THOUGHT), ask, KNOWLEDGE)


def test_a_teacher_on_another_machine_needs_leave(monkeypatch):
    for name in ("URL", "ALLOW_REMOTE_HOST"):
        monkeypatch.delenv(f"IBISAGENT_SERVER_{name}", raising=False)
    with pytest.raises(InputError, match="Which server"):
        served()
    with pytest.raises(InputError, match="allow_remote_host"):
        served("http://example.org/v1")
    assert callable(served("http://example.org/v1", allow_remote_host=True))
    monkeypatch.setenv("IBISAGENT_SERVER_ALLOW_REMOTE_HOST", "yes")
    assert callable(served("http://example.org/v1"))
