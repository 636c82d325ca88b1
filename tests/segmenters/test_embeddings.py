"""The cache that tools keep their embeddings in: bounded, shared between threads, and never a change of results."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.segmenters._embeddings import ByteCache, content_key

KB = 1024


def test_the_longest_unused_value_goes_first():
    cache = ByteCache(3 * KB / 2**20)
    for name in "abc":
        cache.put(name, name.upper(), KB)
    assert cache.get("a") == "A"
    cache.put("d", "D", KB)
    assert [cache.get(name) for name in "abcd"] == ["A", None, "C", "D"]
    assert len(cache) == 3 and cache.used_bytes == 3 * KB


def test_a_value_that_is_put_again_counts_once():
    cache = ByteCache(1)
    cache.put("a", 1, KB)
    cache.put("a", 2, 2 * KB)
    assert cache.get("a") == 2 and cache.used_bytes == 2 * KB


def test_what_is_too_large_is_handed_out_and_not_kept():
    cache = ByteCache(0)
    assert cache.get_or_make("a", lambda: ("A", 1)) == "A"
    assert cache.get("a") is None and cache.used_bytes == 0


def test_clearing_makes_room():
    cache = ByteCache(1)
    cache.put("a", 1, KB)
    cache.clear()
    assert (cache.get("a"), len(cache), cache.used_bytes) == (None, 0, 0)


@pytest.mark.parametrize("size", [-1, float("nan")])
def test_a_size_that_makes_no_sense_is_refused(size):
    with pytest.raises(InputError, match="cache_mb"):
        ByteCache(size)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1500))))
def test_the_bound_holds_whatever_is_put(puts):
    cache = ByteCache(2 * KB / 2**20)
    sizes = {}
    for key, size in puts:
        cache.put(key, size, size)
        sizes[key] = size
        assert cache.used_bytes <= 2 * KB and cache.get(key) == size
    kept = [key for key in sizes if cache.get(key) is not None]
    assert cache.used_bytes == sum(sizes[key] for key in kept) and len(cache) == len(kept)


def test_threads_that_ask_for_the_same_value_get_it_from_one_computation():
    cache, made = ByteCache(1), []
    together = threading.Barrier(4)

    def make():
        made.append(1)
        time.sleep(0.05)
        return object(), 1

    def ask(_):
        together.wait(timeout=10)
        return cache.get_or_make("a", make)

    with ThreadPoolExecutor(4) as pool:
        values = set(pool.map(ask, range(4)))
    assert len(made) == 1 and len(values) == 1


def test_a_computation_that_fails_leaves_the_cache_usable():
    cache = ByteCache(1)

    def fail():
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        cache.get_or_make("a", fail)
    assert cache.get_or_make("a", lambda: ("A", 1)) == "A"


def test_keys_tell_values_shapes_and_types_apart():
    array = np.arange(12, dtype=np.uint8)
    others = [array.reshape(3, 4), array.reshape(4, 3), array.astype(np.int8), array[::-1]]
    keys = {content_key(a) for a in [array, *others]}
    assert len(keys) == 5 and content_key(array) == content_key(array.copy())
    assert content_key(array.reshape(3, 4).T) == content_key(array.reshape(3, 4).T.copy())
