"""The expert's episodes: on made-up slices with a real click tool, and on masks with tools that can be foretold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ibisagent import registry
from napari_ibisagent.core.actions import Click, Discard, Revert, Terminate
from napari_ibisagent.core.masks import error_regions, iou
from napari_ibisagent.core.protocols import Segmentation
from napari_ibisagent.core.view import Plane, View
from napari_ibisagent.training.nano.anatomy import make_slice
from napari_ibisagent.training.trajectories.exercises import Exercise
from napari_ibisagent.training.trajectories.filters import LOW_IOU, NO_END, NO_GAIN, TOO_LONG, Filters, rejected
from napari_ibisagent.training.trajectories.simulate import (
    DIRECT,
    INCONSISTENT,
    REFLECTION,
    SELF_CORRECTION,
    Plan,
    Recipe,
    sampled,
    simulate,
)

GEODESIC = registry.load("segmenters", "geodesic")
SEEDS = st.integers(0, 10_000)
RECIPES = st.builds(
    Recipe,
    goal=st.sampled_from([0.8, 0.95]),
    most=st.integers(1, 6),
    near=st.sampled_from([0.0, 0.5]),
    late=st.sampled_from([0.0, 0.5]),
    slips=st.sampled_from([0.0, 0.4]),
    stories=st.sampled_from([{DIRECT: 1.0}, REFLECTION, {SELF_CORRECTION: 1.0}, {INCONSISTENT: 1.0}]),
    brief=st.booleans(),
)


def exercise(seed, side=64, kind="referring"):
    """A structure of a made-up slice, the others being what it is mistaken for."""
    rng = np.random.default_rng(seed)
    made = make_slice(rng, side)
    names = sorted(made.structures)
    name = names[int(rng.integers(len(names)))]
    others = {other: mask for other, mask in made.structures.items() if other != name}
    view = View(made.image, Plane.AXIAL, 0, (side, side), None)
    return Exercise(f"slice/{seed}", view, made.structures[name], name, f"segment the {name}", kind=kind, wrong=others)


def played(one, recipe, seed=0, tool=GEODESIC):
    return simulate(one, tool, recipe, sampled(one, recipe, np.random.default_rng(seed)))


def story(trajectory):
    """(step, mask before, mask after) of each step, with empty arrays for none."""
    empty = np.zeros(trajectory.shape, bool)
    before = empty if trajectory.given is None else trajectory.given.array()
    for step in trajectory.steps:
        after = empty if step.mask is None else step.mask.array()
        yield step, before, after
        before = after


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SEEDS, RECIPES)
def test_every_story_is_true_to_what_happened(seed, recipe):
    one = exercise(seed)
    trajectory = played(one, recipe, seed)
    assert trajectory == played(one, recipe, seed), "the same plan gives the same episode"
    before_that = []
    for step, before, after in story(trajectory):
        assert step.iou == pytest.approx(iou(after, one.truth), abs=1e-4)
        (action,) = step.turn.actions
        match action:
            case Click():
                before_that.append(before)
            case Revert():
                assert step.learn and (after == before_that.pop()).all()
            case Discard():
                assert step.learn and trajectory.given is not None and not after.any()
            case Terminate():
                assert (after == before).all()
        assert step.turn.thought
    flagged = [step for step in trajectory.steps if not step.learn]
    assert all(step.turn.prompts for step in flagged), "nothing but clicks is a wrong turn"
    if recipe.slips == 0 and trajectory.story == DIRECT:
        assert not flagged and trajectory.given is None
    if trajectory.story == SELF_CORRECTION:
        assert any(step.turn.reverts for step in trajectory.steps) and flagged
    if trajectory.story == INCONSISTENT:
        assert trajectory.steps[0].turn.discards and trajectory.given in map(packed, one.wrong.values())
    ends = [n for n, step in enumerate(trajectory.steps) if step.turn.terminates]
    assert ends == ([len(trajectory.steps) - 1] if trajectory.steps[-1].mask is not None else [])
    in_force = trajectory.clicks - sum(step.turn.reverts for step in trajectory.steps)
    assert in_force <= recipe.most


def packed(mask):
    from napari_ibisagent.core.packed import PackedMask

    return PackedMask.of(mask)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SEEDS, st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0]))
def test_every_straight_click_lies_in_an_error_of_its_sign(seed, near, late):
    one = exercise(seed)
    trajectory = played(one, Recipe(goal=0.97, most=8, near=near, late=late), seed)
    for step, before, _ in story(trajectory):
        for click in step.turn.prompts:
            missed, spilled = error_regions(before, one.truth)
            at = one.view.pixel_of(click.x, click.y)
            assert (missed if click.positive else spilled)[at]


class Stubborn:
    """A tool whose masks are told to it: by the number of prompts, the last one for all further ones."""

    name = "stubborn"

    def __init__(self, *masks):
        self.masks, self.opened, self.asked = masks, 0, []

    def open(self, view):
        self.opened += 1
        return self

    def segment(self, prompts, prior):
        self.asked.append(tuple(prompts))
        return Segmentation(self.masks[min(len(prompts), len(self.masks)) - 1].copy(), 0.5)


def disc(row, column, radius, side=40):
    rows, columns = np.mgrid[:side, :side]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def told(truth, **fields):
    view = View(np.zeros(truth.shape, np.uint8), Plane.AXIAL, 0, truth.shape, None)
    return Exercise("case", view, truth, "liver", "segment the liver", **fields)


LIVER, SPLEEN, NOTHING = disc(20, 12, 8), disc(20, 30, 6), np.zeros((40, 40), bool)


def actions(trajectory):
    return [type(action).__name__ for step in trajectory.steps for action in step.turn.actions]


def test_an_absent_target_is_answered_without_a_click():
    tool = Stubborn(LIVER)
    trajectory = played(told(NOTHING, kind="absent"), Recipe(), tool=tool)
    assert actions(trajectory) == ["Terminate"] and trajectory.steps[0].turn.says_absent and trajectory.steps[0].learn
    assert tool.opened == 0 and trajectory.iou == 1.0 and rejected(trajectory, Filters()) is None


def test_a_plain_question_is_answered_in_words():
    trajectory = played(told(NOTHING, kind="plain", answer="It stores bile."), Recipe(), tool=Stubborn(LIVER))
    assert actions(trajectory) == ["Terminate"] and trajectory.steps[0].turn.answer == "It stores bile."
    assert not trajectory.steps[0].turn.says_absent and trajectory.steps[0].turn.thought == ""
    assert trajectory.iou is None and rejected(trajectory, Filters()) is None


def test_a_wrong_turn_is_taken_back_and_the_mask_before_comes_again():
    tool = Stubborn(SPLEEN, LIVER)
    plan = Plan(SELF_CORRECTION, 0)
    trajectory = simulate(told(LIVER, wrong={"spleen": SPLEEN}), tool, Recipe(), plan)
    assert actions(trajectory)[:2] == ["Click", "Revert"] and trajectory.story == SELF_CORRECTION
    wrong, back = trajectory.steps[:2]
    (click,) = wrong.turn.prompts
    assert SPLEEN[int(click.y * 40), int(click.x * 40)] and not wrong.learn and back.learn
    assert not back.mask.array().any() and tool.asked[1][0] != click, "what was taken back isn't in force"


def test_a_wrong_turn_after_the_last_click_is_no_lack_of_gain():
    class Faithful(Stubborn):
        def segment(self, prompts, prior):
            return Segmentation(LIVER | (SPLEEN if len(prompts) > 1 else NOTHING), 0.5)

    trajectory = simulate(told(LIVER, wrong={"spleen": SPLEEN}), Faithful(), Recipe(), Plan(SELF_CORRECTION, 1))
    assert actions(trajectory) == ["Click", "Click", "Revert", "Terminate"] and trajectory.iou == 1.0
    assert rejected(trajectory, Filters()) is None


def test_a_wrong_turn_that_does_no_harm_is_not_told():
    trajectory = simulate(told(LIVER, wrong={"spleen": SPLEEN}), Stubborn(LIVER), Recipe(), Plan(SELF_CORRECTION, 0))
    assert actions(trajectory) == ["Click", "Terminate"] and trajectory.story == DIRECT


def test_without_anything_to_mistake_a_story_is_straight():
    inside = told(LIVER, wrong={"its core": disc(20, 12, 3)})
    trajectory = simulate(inside, Stubborn(LIVER), Recipe(), Plan(SELF_CORRECTION, 0))
    assert trajectory.story == DIRECT and all(step.learn for step in trajectory.steps)
    plans = [sampled(told(LIVER), Recipe(stories=REFLECTION), np.random.default_rng(n)) for n in range(40)]
    assert {plan.story for plan in plans} == {DIRECT}


def test_an_inconsistent_mask_is_set_aside_and_segmented_anew():
    trajectory = simulate(told(LIVER, wrong={"spleen": SPLEEN}), Stubborn(LIVER), Recipe(), Plan(INCONSISTENT))
    assert actions(trajectory) == ["Discard", "Click", "Terminate"] and trajectory.story == INCONSISTENT
    assert (trajectory.given.array() == SPLEEN).all() and not trajectory.steps[0].mask.array().any()
    assert all(step.learn for step in trajectory.steps) and trajectory.iou == 1.0


def test_a_click_that_gains_nothing_is_not_made():
    most = LIVER & ~disc(15, 12, 2)
    trajectory = simulate(told(LIVER), Stubborn(most), Recipe(goal=0.99), Plan())
    assert actions(trajectory) == ["Click", "Terminate"]


def test_the_same_click_is_never_made_twice():
    part = disc(20, 12, 3)
    trajectory = simulate(told(LIVER), Stubborn(part), Recipe(goal=0.99), Plan())
    clicks = [step.turn.prompts for step in trajectory.steps if step.turn.prompts]
    assert len(set(clicks)) == len(clicks) == 2, "the tool goes no further, and neither does the expert"
    assert rejected(trajectory, Filters()) == LOW_IOU


@pytest.mark.parametrize("stories", [{DIRECT: 1.0}, REFLECTION])
def test_clicks_that_all_go_astray_come_to_an_end(stories):
    one = told(LIVER, wrong={"spleen": SPLEEN})
    trajectory = simulate(one, Stubborn(NOTHING), Recipe(most=4, slips=1.0, stories=stories), Plan())
    strayed = [step for step in trajectory.steps if not step.learn]
    assert len(strayed) <= 4 and trajectory.clicks <= 8
    assert rejected(trajectory, Filters()) == LOW_IOU and rejected(trajectory, Filters(iou=0)) == NO_END


def test_what_is_left_out_and_why():
    good = simulate(told(LIVER), Stubborn(LIVER & ~disc(20, 18, 6), LIVER), Recipe(gain=0), Plan())
    assert len(good.steps) == 3 and rejected(good, Filters()) is None
    assert rejected(good, Filters(steps=2)) == TOO_LONG
    assert rejected(good, Filters(iou=1.01)) == LOW_IOU
    assert rejected(good, Filters(gain=0.9)) == NO_GAIN
    assert rejected(replace(good, steps=good.steps[:-1]), Filters()) == NO_END
    worse = simulate(told(LIVER), Stubborn(disc(20, 12, 6), disc(20, 12, 5)), Recipe(most=2), Plan())
    assert rejected(worse, Filters(iou=0)) == NO_GAIN


def test_the_opened_view_is_used_where_there_is_one():
    tool = Stubborn(LIVER)
    simulate(told(LIVER), tool, Recipe(), Plan(), lambda view: tool)
    assert tool.opened == 0


def test_clicks_of_few_decimals_favour_no_pixel():
    """112 pixels a side fall on 101 numbers: rounded alone, every eighth would stand for two pixels."""

    class Nothing:
        name = "nothing"

        def open(self, view):
            return self

        def segment(self, prompts, prior):
            return Segmentation(np.zeros((112, 112), bool), 0.0)

    recipe = Recipe(most=1, decimals=2)
    counts = np.zeros(101, int)
    for column in range(5, 107):
        truth = np.zeros((112, 112), bool)
        truth[50:53, column - 1 : column + 2] = True
        view = View(np.zeros((112, 112), np.uint8), Plane.AXIAL, 0, (112, 112), None)
        one = Exercise("stripe", view, truth, "stripe", "segment the stripe")
        for seed in range(20):
            step = simulate(one, Nothing(), recipe, Plan(seed=seed)).steps[0]
            (click,) = step.turn.prompts
            assert abs(click.x * 112 - 0.5 - column) <= 1.2
            counts[round(click.x * 100)] += 1
    inner = counts[6:94]
    assert inner.min() > 10 and inner.max() < 36
