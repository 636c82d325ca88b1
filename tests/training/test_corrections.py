"""What people made of an agent's steps, as training data; and that nothing of a patient's goes out with it."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest
from event_strategies import next_event
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_ibisagent.core import coco_rle
from napari_ibisagent.core.actions import Box, Click, Discard, Revert, Terminate, Turn
from napari_ibisagent.core.dialects import ibis
from napari_ibisagent.core.episode import (
    Accepted,
    Amended,
    Author,
    Outcome,
    Overridden,
    PackedMask,
    Painted,
    Prompted,
    Proposed,
    Rejected,
    Segmented,
    StepDeleted,
    Terminated,
    Thought,
)
from napari_ibisagent.core.errors import InputError, OutputError
from napari_ibisagent.core.history import History, record
from napari_ibisagent.core.session import (
    Committed,
    Consented,
    ObjectChanged,
    Opened,
    Patch,
    ScanRef,
    SegmentedObject,
    Session,
    advance,
)
from napari_ibisagent.core.target import Side, Target
from napari_ibisagent.core.view import Plane
from napari_ibisagent.io.journal import ENDING, Journal
from napari_ibisagent.io.knowledge import load_knowledge
from napari_ibisagent.io.read import read_scan
from napari_ibisagent.io.scanref import scan_ref
from napari_ibisagent.training.corrections.export import Wish, export, journals_in
from napari_ibisagent.training.corrections.lessons import LeftOut, Lesson, lessons_of
from napari_ibisagent.training.corrections.pairs import preferences_of
from napari_ibisagent.training.corrections.pairs import to_line as pair_line
from napari_ibisagent.training.corrections.privacy import private_words, task_of
from napari_ibisagent.training.corrections.turns import Judged, Piece, pieces_of
from napari_ibisagent.training.corrections.voice import Voice, told
from napari_ibisagent.training.trajectories.form import from_json, to_line

SHAPE = (3, 4)
OPENED = Opened(ScanRef("/scans/a.nii.gz", "a", (2, 3, 4), "abc", modality="CT"), "scripted", "embedded")
LIVER = Target("liver", "liver")
A, B, C = Click(0.1, 0.5, True), Click(0.5, 0.5, True), Click(0.9, 0.5, False)
STOP = Turn("", (Terminate(),), "liver")


def mask(*pixels):
    found = np.zeros(12, bool)
    found[list(pixels)] = True
    return PackedMask.of(found.reshape(SHAPE))


def proposed(*actions, thought="It lies here.", author=Author.AGENT):
    return (*((Thought(thought),) if thought else ()), Proposed(actions, author=author))


def prompted(text="segment the liver", target=LIVER, given=None):
    return Prompted(text, Plane.AXIAL, 1, SHAPE, target, given)


def session(*events, start=None):
    found = Session()
    for event in (OPENED, start or prompted(), *events):
        found = advance(found, event)
    return found


def kept(value=1):
    """The mask becomes an object."""
    row = SegmentedObject(value, "liver", "#e69f00")
    return Committed(Patch(value, Plane.AXIAL, 1, mask(1)), row, 0)


def done(*pixels):
    return Segmented(mask(*pixels), 0.5)


def pieces(*events, start=None):
    return pieces_of(session(*events, start=start).episode, "liver")


def lesson(*events, start=None, typed=False):
    (found,) = lessons_of(session(*events, start=start), load_knowledge(), "x", typed=typed)
    assert isinstance(found, Lesson), found
    return found


def pairs(*events, start=None):
    found = lesson(*events, start=start)
    return [
        (ibis.render(pair.rejected), ibis.render(pair.chosen), pair.mask)
        for pair in preferences_of(found.trajectory, found.piece)
    ]


def text(*actions, thought=""):
    return ibis.render(Turn(thought, actions))


# -- turns -----------------------------------------------------------------------------------------------------


def test_an_accepted_step_is_an_example_and_one_that_nobody_saw_is_none():
    (piece,) = pieces(*proposed(A), Accepted(), done(1), *proposed(B), Accepted(Author.AGENT), done(1, 2))
    assert [(j.turn, j.mask, j.learn, j.refused) for j in piece.turns] == [
        (Turn("It lies here.", (A,)), mask(1), True, None),
        (Turn("It lies here.", (B,)), mask(1, 2), False, None),
    ]


@pytest.mark.parametrize("verdict", [(Overridden((C,)),), (Amended((C,)), Accepted()), (Amended((C,)), Accepted())])
def test_an_override_is_an_example_without_the_thought_that_argued_for_another_click(verdict):
    (piece,) = pieces(*proposed(A), *verdict, done(3))
    (judged,) = piece.turns
    assert (judged.turn, judged.learn) == (Turn("", (C,)), True)
    assert (judged.refused, judged.rejected) == (Turn("It lies here.", (A,)), False)


def test_what_a_person_did_is_told_from_what_is_seen():
    (piece,) = pieces(
        *proposed(A), Overridden((C,)), done(3), *proposed(B), Rejected("no"), *proposed(A), Accepted(), done(1, 3)
    )
    for voice, longest in ((Voice.BRIEF, 12), (Voice.FULL, 60)):
        turns = told(piece, "liver", SHAPE, voice, "x-1").turns
        assert turns == told(piece, "liver", SHAPE, voice, "x-1").turns
        assert "liver" in turns[0].turn.thought and len(turns[0].turn.thought.split()) <= longest
        assert [t.turn.actions for t in turns] == [t.turn.actions for t in piece.turns]
        # What nobody vouched for, and what the agent thought itself, stay as they were.
        assert turns[1] == piece.turns[1] and turns[2] == piece.turns[2]
    assert told(piece, "liver", SHAPE, Voice.NONE, "x-1") == piece == told(piece, "", SHAPE, Voice.FULL, "x-1")


@pytest.mark.parametrize("voice", [Voice.BRIEF, Voice.FULL])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(
    "actions",
    [
        (A,),
        (C,),
        (Click(0.2, 0.2, False),),
        (Revert(),),
        (Discard(),),
        (Revert(), A),
        (Box(0, 0, 1, 1),),
        (Terminate(),),
    ],
)
def test_every_turn_of_a_persons_can_be_told(actions, masked, voice):
    before = PackedMask.of(np.pad(np.ones((8, 8), bool), 28)) if masked else None
    piece = Piece(before, (Judged(Turn("", actions), before, True),))
    (turn,) = told(piece, "left kidney", (64, 64), voice, "x").turns
    has_words = not (isinstance(actions[0], Box) or (isinstance(actions[0], Discard) and not masked))
    assert bool(turn.turn.thought) == has_words
    assert "0." not in turn.turn.thought


def test_a_rejected_step_stays_in_the_story_without_being_learned():
    (piece,) = pieces(*proposed(A), Accepted(), done(1), *proposed(B), Rejected("that is bowel"))
    last = piece.turns[-1]
    assert (last.turn.actions, last.mask, last.learn, last.rejected) == ((B,), mask(1), False, True)


def test_own_clicks_are_examples_also_where_they_were_moved_and_own_ones_that_were_taken_back_are_nothing():
    own = Proposed((A,), author=Author.HUMAN)
    (piece,) = pieces(
        *(own, Accepted(), done(1), own, Amended((B,)), Accepted(), done(1, 2), own, Rejected("no")),
    )
    assert [(j.turn, j.learn, j.refused) for j in piece.turns] == [
        (Turn("", (A,)), True, None),
        (Turn("", (B,)), True, None),
    ]


def test_a_painted_mask_is_no_turn_and_what_follows_begins_from_it():
    found = pieces(
        *(*proposed(A), Accepted(), done(1), Painted(mask(7)), Painted(mask(8))),
        *(*proposed(B), Accepted(), done(8, 9), Terminated(Outcome.DONE, "liver"), kept()),
        start=prompted(given=mask(0)),
    )
    assert [(p.given, [j.turn.actions for j in p.turns]) for p in found] == [
        (mask(0), [(A,)]),
        (mask(8), [(B,), (Terminate(),)]),
    ]


def test_the_end_is_learned_only_where_a_person_kept_the_mask():
    step, end = (*proposed(A), Accepted(), done(1)), (Thought("It fits."), Terminated(Outcome.DONE, "liver"))
    unseen = (*proposed(A), Accepted(Author.AGENT), done(1))
    closing = Turn("It fits.", (Terminate(),), "liver")

    def last(*events):
        return pieces(*events)[-1].turns[-1]

    assert (last(*step, *end, kept()).turn, last(*step, *end, kept()).learn) == (closing, True)
    assert (last(*step, *end).turn, last(*step, *end).learn) == (closing, False)
    # The command line keeps every mask by itself.
    assert last(*unseen, *end, kept()).learn is False
    assert last(*unseen, *proposed(B), Rejected(), *end, kept()).learn is False
    # A person who keeps a mask says that it is done, whoever clicked last.
    assert (last(*step, kept()).turn, last(*step, kept()).learn) == (STOP, True)
    assert last(*step, Terminated(Outcome.CANCELLED), kept()).turn == STOP
    for other in (Outcome.STEP_LIMIT, Outcome.NOT_FOUND, Outcome.FAILED):
        assert last(*step, Terminated(other), kept()).turn.actions == (A,)
    assert last(*step, kept(), *proposed(B)).turn.actions == (A,)


def test_deleted_steps_and_left_branches_are_no_examples():
    (piece,) = pieces(
        *(*proposed(A), Accepted(), done(1), *proposed(B), Accepted(), done(1, 2), StepDeleted(1, (done(2),))),
    )
    assert [(j.turn.actions, j.mask) for j in piece.turns] == [((B,), mask(2))]
    history = History()
    for event in (OPENED, prompted(), *proposed(A), Accepted(), done(1)):
        history = record(history, event)
    history = record(history, history.undo())
    for event in (Overridden((C,)), done(3)):
        history = record(history, event)
    (piece,) = pieces_of(history.session.episode)
    assert [j.turn.actions for j in piece.turns] == [(C,)]


# -- pairs -----------------------------------------------------------------------------------------------------


def test_an_override_is_a_pair_without_thoughts():
    assert pairs(*proposed(A), Accepted(), done(1), *proposed(B), Overridden((C,)), done(1, 3)) == [
        (text(B), text(C), mask(1))
    ]


def test_refused_proposals_are_paired_with_what_was_done_in_the_same_state():
    refused = (*proposed(A), Rejected("no"), *proposed(B), Rejected("no"))
    thought = "It lies here."
    assert pairs(*refused, *proposed(C), Accepted(), done(3)) == [
        (text(A, thought=thought), text(C, thought=thought), None),
        (text(B, thought=thought), text(C, thought=thought), None),
    ]
    own = (Proposed((C,), author=Author.HUMAN), Accepted(), done(3))
    assert pairs(*refused, *own) == [(text(A), text(C), None), (text(B), text(C), None)]
    assert [pair[:2] for pair in pairs(*refused, *proposed(C), Overridden((A,)), done(1))] == [
        (text(B), text(A)),
        (text(C), text(A)),
    ]  # who refuses a click and then makes it prefers nothing
    again = (*proposed(A), Rejected("no"), *proposed(A, thought="Still here."), Rejected("no"))
    assert pairs(*again, *own) == [(text(A), text(C), None)]
    # The agent stops instead, or the person keeps the mask: both say that it was done.
    first = (*proposed(A), Accepted(), done(1), *proposed(B), Rejected("no"))
    stopped = [(text(B), ibis.render(STOP), mask(1))]
    assert pairs(*first, Terminated(Outcome.DONE, "liver"), kept()) == pairs(*first, kept()) == stopped
    assert pairs(*first) == pairs(*first, Terminated(Outcome.DONE, "liver")) == []


def test_there_is_no_pair_where_nobody_vouched_for_what_was_done():
    unseen = (*proposed(C), Accepted(Author.AGENT), done(3), *proposed(B), Accepted(), done(2))
    assert pairs(*proposed(A), Rejected(), *unseen) == []
    painted = (Painted(mask(4)), *proposed(B), Accepted(), done(2))
    assert pairs(*proposed(A), Rejected(), *painted) == []


def test_a_pair_as_a_line():
    found = lesson(*proposed(A), Accepted(), done(1), *proposed(B), Overridden((C,)), done(1, 3))
    (pair,) = preferences_of(found.trajectory, found.piece)
    values = json.loads(pair_line(pair))
    assert list(values) == ["version", "name", "prompt", "size", "picture", "mask", "rejected", "chosen"]
    assert (values["version"], values["prompt"], values["size"]) == (1, "segment the liver", [3, 4])
    assert np.array_equal(coco_rle.decode(values["mask"], SHAPE), mask(1).array())
    assert ibis.parse(values["chosen"]).actions == (C,)


# -- words -----------------------------------------------------------------------------------------------------


def test_the_sentence_is_made_anew_from_the_targets_name():
    def task(said, target=None, typed=False):
        return task_of(session(start=prompted(said, target)).episode, load_knowledge(), typed=typed)

    kidney = Target("Mrs Smith's kidney", "kidney", Side.LEFT)
    assert task("segment Mrs Smith's left kidney please", kidney).prompt == "segment the left kidney"
    assert task("which organ stores bile? outline it").prompt == "segment the gallbladder"
    assert task("the bright spot of Mr Smith", Target("the bright spot of Mr Smith")) is None
    assert task("the liver without the gallbladder", LIVER) is None  # more is asked for than the liver
    assert task("", LIVER) is None
    typed = task("which organ stores bile? outline it", typed=True)
    assert (typed.prompt, typed.target, typed.kind) == (
        "which organ stores bile? outline it",
        "gallbladder",
        "reasoning",
    )
    assert task("segment the liver", typed=True).kind == "referring"
    assert task("Mr Smith's bright spot", typed=True).prompt == "Mr Smith's bright spot"


def test_a_thought_that_repeats_typed_words_is_left_empty():
    said = prompted("segment the left kidney of Mrs White, 4711")
    private = private_words(
        session(*proposed(A), Rejected("ask Dr Kowalski"), start=said), load_knowledge(), typed=False
    )
    for thought in ("Mrs", "as kowalski wrote", "case 4711", "Ms White's kidney", "taken on 2021-03-04", "20210304"):
        assert private.in_text(thought), thought
    for thought in ("The left kidney lies at (0.68, 0.56), 128 mL.", "the white rim of the kidney", ""):
        assert not private.in_text(thought), thought
    typed = private_words(session(start=said), load_knowledge(), typed=True)
    assert not typed.in_text("the left kidney of Mrs White")


def test_what_has_no_example_or_no_sentence_is_left_out_with_a_reason():
    unseen = session(*proposed(A), Accepted(Author.AGENT), done(1))
    (left,) = lessons_of(unseen, load_knowledge(), "x", typed=False)
    assert isinstance(left, LeftOut) and left.request == 1 and "accepted or made" in left.reason
    own = (Proposed((A,), author=Author.HUMAN), Accepted(), done(1))
    (left,) = lessons_of(session(*own, start=prompted("")), load_knowledge(), "x", typed=True)
    assert "by hand" in left.reason
    (left,) = lessons_of(session(*own, start=prompted("that thing", None)), load_knowledge(), "x", typed=False)
    assert "--prompts typed" in left.reason


@settings(max_examples=120, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_every_session_gives_trajectories_that_can_be_read_again(seed):
    dice, history = random.Random(seed), History()
    for _ in range(60):
        history = record(history, next_event(history, dice))
    for found in lessons_of(history.session, load_knowledge(), "x", typed=True):
        if isinstance(found, LeftOut):
            continue
        trajectory = found.trajectory
        assert found.learned and from_json(json.loads(to_line(trajectory))) == trajectory
        episode = history.session.episodes[int(trajectory.name.split("-")[1]) - 1]
        for number, step in enumerate(trajectory.steps):
            assert step.mask is None or step.mask.shape == episode.shape
            if found.piece.turns[number].rejected:
                assert step.mask == trajectory.before(number) and not step.learn
        for pair in preferences_of(trajectory, found.piece):
            values = json.loads(pair_line(pair))
            assert ibis.parse(values["rejected"]) != ibis.parse(values["chosen"])


# -- files -----------------------------------------------------------------------------------------------------

CANARIES = ("CANARY", "19500101", "2031", "4711")


@pytest.fixture
def place(tmp_path):
    """A scan and a journal about it, both called after the patient; what was typed names them too."""
    folder = tmp_path / "Canary^Jane 19500101"
    folder.mkdir()
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, SHAPE, np.uint8))
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("PatientName", "Canary^Jane")
    image.save(folder / "CANARY_4711_2031-02-03.png", pnginfo=info)
    return folder


def events_of(folder, consent=True):
    scan = folder / "CANARY_4711_2031-02-03.png"
    volume = read_scan(scan)
    ref = scan_ref(volume, scan)
    ref = replace(ref, series="1.2.840.4711", modality="CANARY")
    target = Target("Jane Canary's liver", "liver", Side.NONE, ("CANARY", "4711", "Canary"))
    row = SegmentedObject(1, "liver of Jane Canary", "#e69f00")
    return (
        Opened(ref, "scripted", "embedded"),
        *(() if consent is None else (Consented(consent),)),
        Prompted("segment Jane Canary's liver, 4711, seen 2031-02-03", Plane.AXIAL, 0, SHAPE, target),
        *(*proposed(A, thought="The user says that Jane CANARY has a liver."), Accepted(), done(1)),
        *(*proposed(B, thought="Dated 3.2.2031."), Rejected("Dr Canary says no")),
        *(*proposed(B, thought='The user said "Dr Canary says no".'), Overridden((C,)), done(1, 3)),
        *(*proposed(A, thought="A last click into the liver."), Accepted(), done(1, 2, 3)),
        *(Thought("Jane Canary's liver."), Terminated(Outcome.DONE, "liver of Jane Canary")),
        Committed(Patch(1, Plane.AXIAL, 0, mask(1)), row, 0),
        ObjectChanged(replace(row, name="CANARY")),
    )


def journal(folder, consent=True, name="CANARY-4711"):
    path = folder / f"{name}{ENDING}"
    with Journal.create(path) as opened:
        for event in events_of(folder, consent):
            opened.append(event)
    return path


def bytes_of(folder):
    """All that went out: names and contents."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def leaks(folder):
    out = bytes_of(folder)
    return [
        canary
        for canary in CANARIES
        for name, content in out.items()
        if canary.lower() in name.lower() or canary.lower().encode() in content.lower()
    ]


def test_nothing_identifying_goes_out(place, tmp_path):
    path = journal(place)
    (found,) = export([path], tmp_path / "out", Wish(pictures=True, consent=True))
    assert [lesson.learned for lesson in found.lessons] == [4] and found.lessons[0].silenced == 3
    assert (found.pairs, found.pictures) == (1, 0) and "no series" in found.left_out[0]
    assert leaks(tmp_path / "out") == []
    trajectory = from_json(json.loads((tmp_path / "out" / "trajectories.jsonl").read_text("utf-8")))
    assert trajectory.prompt == "segment the liver" and trajectory.source.modality == ""
    thoughts = [step.turn.thought for step in trajectory.steps]
    assert thoughts[1] == "" and thoughts[3] == "A last click into the liver."
    assert all(thoughts[n] and "user" not in thoughts[n] for n in (0, 2, 4))  # the words for what was left out are ours
    assert trajectory.steps[-1].turn.answer == "liver"
    # A name that could be looked up: no checksum of anything that is the patient's.
    digest = scan_ref(read_scan(place / "CANARY_4711_2031-02-03.png"), place).digest
    assert all(digest[:8].encode() not in content for content in bytes_of(tmp_path / "out").values())


def test_typed_sentences_go_out_only_where_that_was_asked_for(place, tmp_path):
    export([journal(place)], tmp_path / "out", Wish(typed=True))
    line = json.loads((tmp_path / "out" / "trajectories.jsonl").read_text("utf-8"))
    assert line["prompt"] == "segment Jane Canary's liver, 4711, seen 2031-02-03"
    assert "says no" not in json.dumps(line)


def test_pictures_hold_pixels_and_nothing_else(place, tmp_path):
    scan = place / "CANARY_4711_2031-02-03.png"
    path = place / f"a{ENDING}"
    with Journal.create(path) as opened:
        for event in events_of(place):
            if isinstance(event, Opened):
                event = replace(event, scan=scan_ref(read_scan(scan), scan))  # noqa: PLW2901
            opened.append(event)
    (found,) = export([path], tmp_path / "out", Wish(pictures=True))
    assert (found.pictures, found.left_out) == (1, []) and leaks(tmp_path / "out") == []
    line = json.loads((tmp_path / "out" / "trajectories.jsonl").read_text("utf-8"))
    pair = json.loads((tmp_path / "out" / "preferences.jsonl").read_text("utf-8"))
    assert line["source"]["picture"] == pair["picture"] and line["source"]["window"] == [127.5, 255.0]
    with Image.open(tmp_path / "out" / line["source"]["picture"]) as image:
        assert image.info == {} and list(image.size) == line["size"][::-1]
        assert np.array_equal(np.asarray(image), np.asarray(Image.open(scan)))
    scan.unlink()
    (found,) = export([path], tmp_path / "again", Wish(pictures=True))
    assert found.lessons and found.pictures == 0 and "Its pictures" in found.left_out[0]
    assert not (tmp_path / "again" / "pictures").exists()


@pytest.mark.parametrize(("consent", "wish", "says"), [
    (None, Wish(), "--i-have-consent"),
    (False, Wish(), "refused"),
    (False, Wish(consent=True), "refused"),
])  # fmt: skip
def test_without_consent_nothing_goes_out(place, tmp_path, consent, wish, says):
    (found,) = export([journal(place, consent)], tmp_path / "out", wish)
    assert found.lessons == [] and says in found.left_out[0] and not (tmp_path / "out").exists()


def test_consent_can_be_given_by_hand_and_one_broken_journal_stops_no_other(place, tmp_path):
    (place / f"broken{ENDING}").write_text("no journal\n")
    paths = [journal(place, None), journal(place, True, "second"), place / f"broken{ENDING}"]
    first, second, broken = export(paths, tmp_path / "out", Wish(consent=True))
    assert "isn't a journal" in broken.left_out[0]
    names = [lesson.trajectory.name for found in (first, second) for lesson in found.lessons]
    # Of one scan, and found apart.
    assert len(set(names)) == 2 and len({name.rsplit("-", 3)[0] for name in names}) == 1
    lines = (tmp_path / "out" / "trajectories.jsonl").read_text("utf-8").splitlines()
    assert sorted(names) == [json.loads(line)["name"] for line in lines]
    (again, *_) = export(paths, tmp_path / "again", Wish(consent=True))
    assert again.lessons[0].trajectory.name not in names


def test_a_folder_that_holds_something_is_left_alone(place, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("mine")
    with pytest.raises(OutputError, match="empty folder"):
        export([journal(place)], tmp_path / "out", Wish())
    assert set(bytes_of(tmp_path / "out")) == {"a.txt"}


def test_journals_are_found_in_folders_each_once(place, tmp_path):
    path = journal(place)
    assert journals_in([place, path]) == (path,)
    with pytest.raises(InputError, match="holds no journal"):
        journals_in([tmp_path])


def test_a_piece_is_a_value():
    assert Piece(None, ()) == Piece(None, ()) and text(Revert()) == "<action>Revert</action>"
