"""What every registered policy has to keep: one parametrised test over all names, with the real thing behind each."""

from __future__ import annotations

import numpy as np
import pytest
from chat_server import STOP, TEXT, serving

from napari_ibisagent import registry
from napari_ibisagent.agent.runner import Stage, run
from napari_ibisagent.core.episode import Outcome, Prompted, advance, begin
from napari_ibisagent.core.errors import BackendError, InputError
from napari_ibisagent.core.protocols import Manner, Policy, manner_of
from napari_ibisagent.core.view import Plane, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.segmenters import geodesic

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
NAMES = registry.names("policies")
ENDS = {Outcome.DONE, Outcome.NOT_FOUND, Outcome.STEP_LIMIT, Outcome.FAILED}


def disc():
    rows, columns = np.ogrid[:64, :64]
    return (rows - 28) ** 2 + (columns - 36) ** 2 <= 144


@pytest.fixture(scope="module")
def scene():
    noise = np.random.default_rng(5).normal(0, 6, (64, 64))
    volume = Volume.from_picture((60 + 100 * disc() + noise).astype(np.float32), name="disc")
    view = view_of(volume, Plane.AXIAL, 0)
    return volume, view, geodesic.build().open(view)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    pytest.importorskip("transformers", reason="the extra models is not installed")
    from tiny_qwen import write_checkpoint

    return str(write_checkpoint(tmp_path_factory.mktemp("qwen")))


@pytest.fixture
def make(request):
    """``make(name)``: a new policy of that name, with what it needs."""

    def made(name):
        if name == "oracle":
            return registry.load("policies", name, truth=disc()[None], clicks=3)
        if name == "scripted":
            return registry.load("policies", name, turns=[TEXT, STOP])
        if name == "qwen_vl":
            folder = request.getfixturevalue("checkpoint")
            return registry.load("policies", name, folder=folder, device="cpu", max_new_tokens=30, repairs=1)
        if name == "openai_compatible":
            pytest.importorskip("openai", reason="the extra remote is not installed")
            serves = serving(TEXT, STOP, TEXT, STOP)
            server = serves.__enter__()
            request.addfinalizer(lambda: serves.__exit__(None, None, None))
            return registry.load("policies", name, url=server.url, model="tiny")
        return registry.load("policies", name)

    return made


def played(scene, policy, **options):
    volume, view, tool = scene
    episode = begin(Prompted("the bright round spot", Plane.AXIAL, 0, view.shape))
    pieces = []
    for event in run(episode, Stage(volume, view, policy, tool), on_text=pieces.append, **options):
        episode = advance(episode, event)
    return episode, "".join(pieces)


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_episode_ends_in_order_and_the_same_again(make, scene, name):
    policy = make(name)
    assert isinstance(policy, Policy) and policy.name == name and isinstance(manner_of(policy), Manner)
    first, said = played(scene, policy)
    again, said_again = played(scene, make(name))
    assert first.outcome in ENDS and said
    assert (first.outcome, first.prompts, first.mask, said) == (again.outcome, again.prompts, again.mask, said_again)
    if name != "qwen_vl":  # random weights babble, and babble is no mask
        assert first.outcome is Outcome.DONE and first.mask_array().any()
    else:
        assert first.outcome is Outcome.FAILED and first.mask is None and first.reason.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_cancelled_before_its_first_word_is_whole(make, scene, name):
    episode, said = played(scene, make(name), cancelled=lambda: True)
    assert (episode.outcome, episode.steps, said) == (Outcome.CANCELLED, (), "")


@pytest.mark.parametrize("name", NAMES)
def test_what_it_doesnt_take_is_refused_in_a_sentence(name):
    with pytest.raises(InputError, match=rf"{name} has no option sharpness\. Its options are: "):
        registry.load("policies", name, sharpness=3)
    why = registry.why_not("policies", name)
    assert why is None or len(why) > 10


@pytest.mark.parametrize("name", NAMES)
def test_without_what_it_needs_it_says_so(name, monkeypatch):
    monkeypatch.delenv("IBISAGENT_SERVER_URL", raising=False)
    try:
        policy = registry.load("policies", name)
    except (InputError, BackendError) as error:
        assert str(error).endswith(".") or "folder=" in str(error)
    else:
        assert policy.name == name
