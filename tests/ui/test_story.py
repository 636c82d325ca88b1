"""The cards and the canvas of a session, without a window: from events in a store to what a person reads and sees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("qtpy", reason="the extra gui is not installed")

from napari_ibisagent.agent.commit import BY_HAND
from napari_ibisagent.agent.store import Store
from napari_ibisagent.core.actions import Box, Click
from napari_ibisagent.core.carrying import Extent
from napari_ibisagent.core.episode import (
    Accepted,
    Author,
    Failed,
    Located,
    Outcome,
    Overridden,
    PackedMask,
    Painted,
    Prompted,
    Proposed,
    Rejected,
    Segmented,
    Terminated,
    Thought,
    begin,
)
from napari_ibisagent.core.session import Opened, ScanRef
from napari_ibisagent.core.view import Plane
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.scanref import scan_ref
from napari_ibisagent.ui.cards import Kind, Tone
from napari_ibisagent.ui.exhibit import Shown, exhibit_of
from napari_ibisagent.ui.outlook import choices_now
from napari_ibisagent.ui.story import Scene, note, readable, story_of

HERE, THERE = Click(0.25, 0.25, positive=True), Click(0.75, 0.75, positive=False)


def mask(count):
    """A mask (8, 8) of so many pixels."""
    return PackedMask.of((np.arange(64) < count).reshape(8, 8))


@pytest.fixture
def store(tmp_path):
    volume = Volume.from_source(np.zeros((8, 8, 4), np.int16), np.diag([-1.0, -1.0, 1.0, 1.0]), name="scan")
    made = Store(volume)
    ref = scan_ref(volume, tmp_path / "scan.nii")
    assert isinstance(ref, ScanRef)
    made.record(Opened(ref, "teller", "dabber"))
    return made


def play(store, *events):
    for event in events:
        store.record(event)
    return story_of(store.session, Scene())


def asked(text="the thing", located=True):
    return Prompted(text, Plane.AXIAL, 1, (8, 8), located=located)


def step(count, click=HERE, verdict=None, thought="Here."):
    return Thought(thought), Proposed((click,)), verdict or Accepted(), Segmented(mask(count), 0.87, 12.0)


def kinds(cards):
    return [card.kind for card in cards]


def test_nothing_was_asked(store):
    assert story_of(store.session, Scene()) == ()
    assert exhibit_of(store.session, None) is None
    hello = note("hello", "Something to say.", Tone.CARE)
    assert story_of(store.session, Scene(notes=(hello,))) == (hello,)


def test_a_sentence_whose_slice_is_looked_for(store):
    store.record(asked(located=False))
    (sentence,) = story_of(store.session, Scene(running=True))
    assert (sentence.kind, sentence.text, sentence.facts) == (Kind.USER, "the thing", ("looking for the slice",))
    store.record(Located(2, (8, 8)))
    assert story_of(store.session, Scene(running=True))[0].facts == ("axial slice 2",)


def test_a_click_that_waits(store):
    cards = play(store, asked(), Thought("In the middle."), Proposed((HERE, THERE)))
    assert kinds(cards) == [Kind.USER, Kind.PROPOSAL]
    card = cards[-1]
    assert (card.text, card.signs, card.number, card.current) == ("In the middle.", ("+", "−"), 1, True)
    assert [button.intent for button in card.buttons] == ["accept", "flip", "reject"]
    assert "(A)" in card.buttons[0].text and "(T)" in card.buttons[1].text and "(X)" in card.buttons[2].text
    shown = exhibit_of(store.session, None)
    assert shown.mask is None and [mark.action for mark in shown.proposed] == [HERE, THERE]
    assert {mark.author for mark in shown.marks} == {Author.AGENT}
    store.flip()
    card = story_of(store.session, Scene())[-1]
    assert card.signs == ("−", "+") and "changed by you" in card.facts
    assert {mark.author for mark in exhibit_of(store.session, None).marks} == {Author.HUMAN}
    store.record(Accepted())
    working = story_of(store.session, Scene(running=True))[-1]
    assert working.buttons == () and "the tool is at work" in working.facts
    assert "halted" in story_of(store.session, Scene(running=False))[-1].facts


def test_the_facts_of_steps(store):
    cards = play(store, asked(), *step(40), *step(30, THERE, Overridden((THERE,))), Thought("No."), Proposed((HERE,)))
    cards = play(store, Rejected("too low"))
    first, second, third = (card for card in cards if card.kind is Kind.STEP)
    assert first.facts == ("score 0.87", "+40 px", "12 ms", "agent", "accepted")
    assert second.facts[1] == "-10 px" and second.facts[-2:] == ("you", "overridden") and second.signs == ("−",)
    assert third.text == "No.\nRejected: too low" and third.facts[-1] == "rejected"
    sized = story_of(store.session, Scene(pixel_mm2={0: 25.0}))
    assert [card.facts[1] for card in sized if card.kind is Kind.STEP][:2] == ["+10.0 cm²", "-2.5 cm²"]
    assert [button.intent for button in first.menu] == ["branch", "delete"]
    assert not first.current and cards[-1].title == "Your turn"


@pytest.mark.parametrize(
    ("end", "title", "tone"),
    [
        (Terminated(Outcome.DONE, "the thing"), "Done", Tone.GOOD),
        (Terminated(Outcome.DONE, "unsure: it is blurred"), "Unsure", Tone.CARE),
        (Terminated(Outcome.NOT_FOUND, "There is none."), "Not found", Tone.CARE),
        (Terminated(Outcome.STEP_LIMIT, "the limit"), "Stopped at the limit", Tone.CARE),
        (Terminated(Outcome.CANCELLED, "by the user"), "Cancelled", Tone.NEUTRAL),
        (Failed("The model can't be reached. Try again."), "Failed", Tone.BAD),
    ],
)
def test_how_it_ended(store, end, title, tone):
    last = play(store, asked(), *step(5), end)[-1]
    assert (last.kind, last.title, last.tone) == (Kind.OUTCOME, title, tone)
    assert last.text.lower() == end.reason.lower()
    assert [button.intent for button in last.buttons] == ["keep", "go_on", "carry"]


def test_not_found_without_a_mask_has_nothing_to_keep(store):
    last = play(store, asked(), Thought("It isn't there."), Terminated(Outcome.NOT_FOUND, "It isn't there."))[-1]
    assert [button.intent for button in last.buttons] == ["point"] and last.text == "It isn't there."


def test_what_an_ambiguous_sentence_can_mean_is_asked_back_with_buttons(store):
    play(store, asked("segment the kidney"), Terminated(Outcome.NOT_FOUND, "Which one?"))
    assert choices_now(store) == ("left kidney", "right kidney", "both kidneys")
    card = story_of(store.session, Scene(choices=choices_now(store)))[-1]
    assert [(b.intent, b.text) for b in card.buttons[:3]] == [
        ("ask:left kidney", "Left kidney"),
        ("ask:right kidney", "Right kidney"),
        ("ask:both kidneys", "Both kidneys"),
    ]
    assert card.buttons[-1].intent == "point" and card.title == "Which one?"
    assert all(button.equal for button in card.buttons[:3])  # no side stands out
    # What is clear, or was found, is not asked back; nor is an earlier sentence.
    play(store, asked("segment the left kidney"), Terminated(Outcome.NOT_FOUND, "None."))
    assert choices_now(store) == ()
    assert not any(b.intent.startswith("ask:") for c in story_of(store.session, Scene()) for b in c.buttons)


def test_a_choice_reaches_as_far_as_the_sentence_did(store):
    whole = replace(asked("the kidney"), extent=Extent.VOLUME)
    play(store, whole, Terminated(Outcome.NOT_FOUND, "Which one?"))
    card = story_of(store.session, Scene(choices=choices_now(store)))[-1]
    assert card.buttons[0].intent == "ask:left kidney in the whole volume"


def test_painted_and_cleared(store):
    store.paint(Plane.AXIAL, 1, np.eye(8, dtype=bool))
    cards = story_of(store.session, Scene())
    assert cards[0].text == BY_HAND and cards[0].menu[0].intent == "branch"
    assert (cards[1].title, cards[1].signs, cards[1].facts) == ("Painted", ("✎",), ("+8 px", "you"))
    store.clear()
    assert story_of(store.session, Scene())[2].title == "Cleared"
    assert not exhibit_of(store.session, None).mask.array().any()


def test_marks_in_force(store):
    play(store, asked(), *step(10), *step(20, Box(0.1, 0.1, 0.5, 0.5)))
    marks = exhibit_of(store.session, None).marks
    assert [(mark.number, type(mark.action), mark.done) for mark in marks] == [(1, Click, True), (2, Box, True)]
    store.record(Painted(mask(30)))  # a new prior: the prompts before it are no longer in force
    assert exhibit_of(store.session, None).marks == () and exhibit_of(store.session, None).mask == mask(30)


def test_looking_back(store):
    play(store, asked(), *step(10), *step(20, THERE), Thought("Next."), Proposed((HERE,)))
    back = exhibit_of(store.session, Shown(0, 1))
    assert back.mask == mask(10) and [mark.action for mark in back.marks] == [HERE] and back.proposed == ()
    assert exhibit_of(store.session, Shown(0, 0)).mask is None
    cards = story_of(store.session, Scene(shown=Shown(0, 1)))
    assert [card.current for card in cards if card.kind is Kind.STEP] == [True, False]
    assert exhibit_of(store.session, Shown(7, 0)) == exhibit_of(store.session, None)


def test_an_earlier_request_is_only_looked_at_or_worked_on_again(store):
    cards = play(store, asked(), *step(10), Terminated(Outcome.DONE, "it"), asked("another"))
    first = next(card for card in cards if card.kind is Kind.STEP)
    assert [button.intent for button in first.menu] == ["work_on"]
    assert [b.intent for card in cards if card.kind is Kind.OUTCOME and card.episode == 0 for b in card.buttons] == [
        "keep"
    ]


def test_kept_is_drawn_by_the_object(store):
    play(store, asked(), *step(10), Terminated(Outcome.DONE, "it"))
    row = store.keep()
    last = story_of(store.session, Scene())[-1]
    assert last.facts == (f"kept as {row.name} (1)",)
    assert [button.intent for button in last.buttons] == ["carry"]
    shown = exhibit_of(store.session, None)
    assert shown.mask is None and shown.marks == ()
    store.remove_object(1)
    last = story_of(store.session, Scene())[-1]  # the mask is on the table again
    assert last.facts == () and [button.intent for button in last.buttons] == ["keep", "go_on", "carry"]
    assert exhibit_of(store.session, None).mask == mask(10)


def test_other_branches_and_warnings(store):
    play(store, asked(), *step(10), *step(20))
    scene = Scene(branches={(0, 1): (4,), (0, 2): (5, 6)}, warnings=("It lies on the left.",))
    cards = story_of(store.session, scene)
    first, second = (card for card in cards if card.kind is Kind.STEP)
    assert [button.text for button in first.menu][-1:] == ["Go to the other branch"]
    assert [button.intent for button in second.menu][-2:] == ["jump:5", "jump:6"]
    assert [card.text for card in cards if card.kind is Kind.WARNING] == ["It lies on the left."]
    keys = [card.key for card in cards]
    assert len(set(keys)) == len(keys)


def test_the_same_session_gives_the_same_cards(store):
    first = play(store, asked(), *step(10))
    assert story_of(store.session, Scene()) == first
    store.undo()
    store.redo()
    assert story_of(store.session, Scene()) == first


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("", ""),
        ("<thi", ""),
        ("<think>The li", "The li"),
        ("<think>The liver.</think><act", "The liver."),
        ("<think>The liver.</think><action>Positive Point (0.1, 0.2)", "The liver."),
        ("It is there <action>Term", "It is there"),
    ],
)
def test_a_thought_is_readable_while_it_comes(raw, words):
    assert readable(raw) == words


def test_a_bar_for_each_slice_and_of_many_the_lowest_of_several():
    from napari_ibisagent.core.carrying import Carried, Carrying, End
    from napari_ibisagent.ui.through import through_card

    def card(count, low=()):
        slices = tuple(Carried(n, mask(1), 0.1 if n in low else 0.99, "odd." if n in low else "") for n in range(count))
        episode = replace(
            begin(Prompted("x", Plane.AXIAL, count, (8, 8))),
            carrying=Carrying("neighbour", 0, count, "by itself.", slices, End.COMPLETE, "done"),
        )
        return through_card(episode, 0, running=False, facts=(), closing=())

    assert "From slice 0 to 4: █▁███|" in card(5, low={1}).text
    assert [b.intent for b in card(9, low={1, 2, 3, 4, 5}).buttons] == [f"go_to:{n}" for n in (1, 2, 3, 4)]
    assert len(card(9, low={1, 2, 3, 4, 5}).menu) == 5 and "Check slices 1 to 5. odd." in card(9, low=range(1, 6)).text
    many = card(400, low={222}).text
    (line,) = [line for line in many.split("\n") if line.startswith("From")]
    assert line.count("▁") == 1 and line.endswith("|") and len(line) < 120
