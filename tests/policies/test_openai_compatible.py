"""The client of chat-completions servers: what goes out, what comes in, and every way in which a server fails."""

from __future__ import annotations

import base64
import io
import time

import numpy as np
import pytest
from chat_server import STOP, TEXT, serving
from PIL import Image

from napari_ibisagent import registry
from napari_ibisagent.agent.runner import Stage, run
from napari_ibisagent.core.episode import Outcome, Prompted, advance, begin
from napari_ibisagent.core.errors import BackendError, InputError
from napari_ibisagent.core.masks import dice
from napari_ibisagent.core.protocols import Situation
from napari_ibisagent.core.view import Plane, view_of
from napari_ibisagent.core.volume import Volume
from napari_ibisagent.io.hosts import check_url, is_here
from napari_ibisagent.segmenters import geodesic

pytest.importorskip("openai", reason="the extra remote is not installed")

SIDE = 64
KEY = "sk-very-secret-0815"


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    for name in ("URL", "MODEL", "KEY", "ALLOW_REMOTE_HOST"):
        monkeypatch.delenv(f"IBISAGENT_SERVER_{name}", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # nothing for this machine goes through a proxy
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)


def disc():
    rows, columns = np.ogrid[:SIDE, :SIDE]
    return (rows - 28) ** 2 + (columns - 36) ** 2 <= 144


def scan(side=SIDE):
    noise = np.random.default_rng(5).normal(0, 6, (SIDE, SIDE))
    picture = (60 + 100 * disc() + noise).astype(np.float32)
    return Volume.from_picture(np.kron(picture, np.ones((side // SIDE, side // SIDE), np.float32)), name="disc")


def situation(side=SIDE):
    volume = scan(side)
    view = view_of(volume, Plane.AXIAL, 0)
    picture = np.repeat(view.image[..., None] * np.float32(0.5), 3, axis=2).astype(np.uint8)
    return Situation(begin(Prompted("the disc", Plane.AXIAL, 0, view.shape)), volume, view, lambda _: picture)


def policy(server, **options):
    return registry.load("policies", "openai_compatible", **{"url": server.url, "retries": 0, "stall_s": 0.5} | options)


def answer(server, **options):
    return "".join(policy(server, **options).act(situation()))


def test_a_whole_episode():
    with serving(TEXT, STOP) as server:
        volume = scan()
        view = view_of(volume, Plane.AXIAL, 0)
        episode = begin(Prompted("the disc", Plane.AXIAL, 0, view.shape))
        for event in run(episode, Stage(volume, view, policy(server), geodesic.build().open(view))):
            episode = advance(episode, event)
        assert (episode.outcome, len(episode.steps)) == (Outcome.DONE, 1)
        assert dice(episode.mask_array(), disc()) > 0.95
        first, second = server.asked
        assert (first["model"], first["temperature"], first["max_tokens"], first["seed"]) == ("tiny", 0.0, 512, 0)
        assert first["stream"] is True and len(second["messages"]) == 2
        assert "the disc" in second["messages"][1]["content"][1]["text"]


def test_what_is_sent_is_a_picture_and_nothing_else():
    with serving(TEXT) as server:
        answer(server, model="tiny")
        system, user = server.asked[0]["messages"]
        assert system["role"] == "system" and "Positive Point" in system["content"]
        picture, text = user["content"]
        assert text == {"type": "text", "text": "the disc"}
        head, data = picture["image_url"]["url"].split(",")
        assert head == "data:image/png;base64"
        raw = base64.b64decode(data)
        image = Image.open(io.BytesIO(raw))
        assert image.info == {} and np.array_equal(np.asarray(image), situation().observation)
        assert raw[12:16] == b"IHDR" and all(word not in raw for word in (b"tEXt", b"iTXt", b"eXIf"))
        assert KEY not in str(server.headers)


def test_a_large_picture_is_made_smaller_with_its_aspect_kept():
    with serving(TEXT) as server:
        list(policy(server, model="tiny", max_pixels=40_000).act(situation(256)))
        data = server.asked[0]["messages"][1]["content"][0]["image_url"]["url"].split(",")[1]
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == (200, 200)


def test_history_grows_and_a_grammar_can_be_asked_for():
    with serving(TEXT, STOP) as server:
        volume = scan()
        view = view_of(volume, Plane.AXIAL, 0)
        episode = begin(Prompted("the disc", Plane.AXIAL, 0, view.shape))
        wanted = policy(server, history=True, structured=True)
        for _ in run(episode, Stage(volume, view, wanted, geodesic.build().open(view))):
            pass
        first, second = (asked["messages"] for asked in server.asked)
        assert second[:2] == first and [m["role"] for m in second] == ["system", "user", "assistant", "user"]
        assert second[2]["content"].strip() == TEXT
        assert server.asked[0]["structured_outputs"]["regex"].startswith("<think>")


FAULTS = [
    (401, r"doesn't accept the key \(401\).*IBISAGENT_SERVER_KEY"),
    (403, "doesn't accept the key"),
    (404, r"no model 'tiny'.*\(404\)"),
    (400, r"doesn't understand the request \(400\).*takes pictures"),
    (413, r"too large \(413\).*max_pixels"),
    (418, r"refused the request \(418\)"),
    (429, r"too much to do \(429\)"),
    (500, r"has failed \(500\).*log"),
    (503, "has failed"),
    (("stall", TEXT[:20]), r"said nothing for 0\.5 s.*stall_s"),
    (("cut", TEXT[:20]), "broke off its answer"),
    (("reset", TEXT[:20]), "broke off its answer"),
    (("junk", TEXT[:20]), "isn't a chat answer|broke off"),
    (("to", "http://example.org/v1/chat/completions"), r"points to another address \(307\)"),
    (("page", {"hello": "there"}), "isn't a chat answer|broke off"),
]


@pytest.mark.parametrize(("fault", "said"), FAULTS, ids=[str(f if isinstance(f, int) else f[0]) for f, _ in FAULTS])
def test_each_failure_is_a_sentence_without_the_key(fault, said, monkeypatch):
    monkeypatch.setenv("IBISAGENT_SERVER_KEY", KEY)
    with serving(fault) as server:
        with pytest.raises(BackendError, match=said) as caught:
            answer(server, model="tiny")
        assert server.url in str(caught.value) and str(caught.value).endswith(".")
        assert KEY not in str(caught.value) and KEY not in repr(policy(server)._server)
        assert KEY in server.headers[0].get("authorization", server.headers[0].get("Authorization"))
        assert len(server.asked) == 1


def test_nobody_there():
    with serving(TEXT) as server:
        gone = policy(server, model="tiny")
        url = server.url
    with pytest.raises(BackendError, match=r"can't be reached .*[Rr]efused") as caught:
        list(gone.act(situation()))
    assert url in str(caught.value)


def test_what_passes_is_tried_again_with_growing_waits_and_not_for_ever():
    with serving(503, 503, TEXT) as server:
        assert answer(server, model="tiny", retries=3).strip() == TEXT
        one, two = np.diff(server.times)
        assert 0.4 < one < two
    with serving(500) as server:
        with pytest.raises(BackendError, match="has failed"):
            answer(server, model="tiny", retries=2)
        assert len(server.asked) == 3
    with serving(429, TEXT) as server:
        assert answer(server, model="tiny", retries=1).strip() == TEXT
        assert np.diff(server.times)[0] < 0.45  # as the server wished
    with serving(401) as server:
        with pytest.raises(BackendError):
            answer(server, model="tiny", retries=3)
        assert len(server.asked) == 1
    with serving(("cut", "some words"), TEXT) as server:
        with pytest.raises(BackendError):  # words that were heard aren't said twice
            answer(server, model="tiny", retries=3)
        assert len(server.asked) == 1


@pytest.mark.parametrize("fault", [("stall", TEXT[:9]), ("slow", TEXT * 9), 503])
def test_cancel_is_quick_whatever_the_server_does(fault):
    with serving(fault) as server:
        pieces = policy(server, model="tiny", retries=3, stall_s=20).act(situation())
        started = time.monotonic()
        while time.monotonic() - started < 0.4:
            next(pieces)
        asked = len(server.asked)
        started = time.monotonic()
        pieces.close()
        assert time.monotonic() - started < 0.3
        time.sleep(0.7)
        assert len(server.asked) == asked


def test_the_only_model_needs_no_name_and_several_do():
    with serving(TEXT, models=("one",)) as server:
        agent = policy(server)
        for _ in range(3):
            list(agent.act(situation()))
        assert [asked["model"] for asked in server.asked] == ["one"] * 3 and server.listed == 1
    with serving(TEXT, models=("b", "a")) as server, pytest.raises(InputError, match=r"these models: a, b\. .*model="):
        answer(server)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.8.8.8", "[::1]"])
def test_this_machine_is_known_by_its_names(host):
    assert check_url(f"http://{host}:8000/v1/", allow_remote_host=False) == f"http://{host}:8000/v1"


@pytest.mark.parametrize(
    "host", ["example.org", "10.0.0.5", "localhost.example.org", "127.0.0.1.nip.io", "[::2]", "0.0.0.0", "127.1"]
)
def test_any_other_host_needs_leave(host, monkeypatch):
    url = f"https://{host}/v1"
    with pytest.raises(InputError, match=r"isn't this machine.*allow_remote_host=true"):
        registry.load("policies", "openai_compatible", url=url)
    allowed = registry.load("policies", "openai_compatible", url=url, allow_remote_host=True)
    assert host.strip("[]") in allowed.manner.notice
    monkeypatch.setenv("IBISAGENT_SERVER_ALLOW_REMOTE_HOST", "1")
    assert registry.load("policies", "openai_compatible", url=url).manner.notice
    assert not is_here(host.strip("[]"))


@pytest.mark.parametrize("said", ["no", "False", "FALSE", "off", "yes", 1, 0])
def test_only_true_gives_leave(said):
    with pytest.raises(InputError, match=r"allow_remote_host=.* isn't true or false"):
        registry.load("policies", "openai_compatible", url="http://example.org/v1", allow_remote_host=said)


@pytest.mark.parametrize("url", ["", "ftp://localhost", "http://", "http://user:secret@localhost/v1"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(InputError) as caught:
        registry.load("policies", "openai_compatible", url=url)
    assert "secret" not in str(caught.value)


def test_it_says_what_it_needs(monkeypatch):
    assert "IBISAGENT_SERVER_URL" in registry.why_not("policies", "openai_compatible")
    monkeypatch.setenv("IBISAGENT_SERVER_URL", "http://localhost:1/v1")
    assert registry.why_not("policies", "openai_compatible") is None
    assert registry.load("policies", "openai_compatible").manner.notice == ""
