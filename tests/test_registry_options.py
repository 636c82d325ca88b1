"""Options of a backend that come from a command line, an environment or a profile: of the declared type, or refused."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from napari_ibisagent import registry
from napari_ibisagent.core.errors import BackendError, InputError


@pytest.mark.parametrize(
    ("kind", "name", "option", "wanted"),
    [
        ("policies", "qwen_vl", {"history": "maybe"}, "history='maybe' of qwen_vl isn't true or false"),
        ("policies", "qwen_vl", {"max_new_tokens": "many"}, "isn't a whole number"),
        ("policies", "qwen_vl", {"max_new_tokens": True}, "isn't a whole number"),
        ("policies", "qwen_vl", {"max_new_tokens": 1.5}, "isn't a whole number"),
        ("policies", "qwen_vl", {"temperature": "hot"}, "isn't a number"),
        ("policies", "qwen_vl", {"folder": 7}, "isn't text"),
        ("policies", "qwen_vl", {"quantised": "4bit"}, "isn't a whole number"),
        ("policies", "qwen_vl", {"allow_pickle": "no"}, "isn't true or false"),
        ("policies", "oracle", {"clicks": "few", "truth": np.ones((1, 2, 2), bool)}, "isn't a whole number"),
        ("segmenters", "sam", {"allow_pickle": "False"}, "isn't true or false"),
        ("segmenters", "sam2", {"side": "large"}, "isn't a whole number"),
    ],
)
def test_an_option_of_another_type_is_refused(kind, name, option, wanted):
    with pytest.raises(InputError, match=wanted):
        registry.load(kind, name, **option)


def test_options_of_a_module_that_declares_the_types_themselves():
    for annotation in (bool, "bool", bool | None):
        parameter = inspect.Parameter("leave", inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
        with pytest.raises(InputError, match="leave='no' of thing isn't true or false"):
            registry._check_type("thing", "leave", "no", parameter)
        registry._check_type("thing", "leave", False, parameter)


def test_what_is_of_the_type_goes_through():
    oracle = registry.load("policies", "oracle", truth=np.ones((1, 2, 2), bool), clicks=3, goal=1)
    assert (oracle._clicks, oracle._goal) == (3, 1)
    for given in ({"temperature": 1}, {"quantised": None}, {"turns": 4, "history": True}):
        with pytest.raises((InputError, BackendError), match="Which model"):
            registry.load("policies", "qwen_vl", **given)


def test_a_person_is_offered_what_needs_no_program():
    offered = registry.choices("policies")
    assert "embedded" in offered and not {"oracle", "scripted"} & set(offered)
    assert {"oracle", "scripted"} <= set(registry.names("policies"))
