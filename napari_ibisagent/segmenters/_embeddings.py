"""What a tool has worked out is kept as long as there is room: a cache bounded in MB that threads may share.

The longest unused value goes first. A value larger than the whole cache is handed out and not kept, so a cache of
0 MB keeps nothing. Everything that is kept can be computed again, so losing it costs time and never changes a mask.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_ibisagent.core.errors import InputError

Value = TypeVar("Value")

_MB = 1024 * 1024


class ByteCache(Generic[Value]):
    """Least recently used values under hashable keys, of at most ``megabytes`` MB (2**20 bytes) together.

    Raises InputError for a size below 0.
    """

    def __init__(self, megabytes: float) -> None:
        if not megabytes >= 0:
            raise InputError(f"A cache can't hold {megabytes} MB. Give cache_mb as 0 (nothing is kept) or more.")
        self._room = int(megabytes * _MB)
        self._held: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._used = 0
        self._lock = threading.Lock()
        # Held while a value is computed, apart from the one above: what is there can be had in the meantime.
        self._making = threading.Lock()

    @property
    def used_bytes(self) -> int:
        """How much the values take together."""
        return self._used

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: Hashable) -> Value | None:
        """The value, which is now the last one to go, or None."""
        with self._lock:
            if key not in self._held:
                return None
            self._held.move_to_end(key)
            return self._held[key][0]

    def put(self, key: Hashable, value: Value, size: int) -> None:
        """Keeps a value of ``size`` bytes, and lets go of the longest unused ones until it fits."""
        with self._lock:
            if key in self._held:
                self._used -= self._held.pop(key)[1]
            if size > self._room:
                return
            while self._used + size > self._room:
                self._used -= self._held.popitem(last=False)[1][1]
            self._held[key] = (value, size)
            self._used += size

    def get_or_make(self, key: Hashable, make: Callable[[], tuple[Value, int]]) -> Value:
        """The value of a key, from ``make() -> (value, bytes)`` where it isn't there.

        One value is made at a time: two threads that ask for the same one get it from one computation, and two
        different ones would compete for the same device anyway.
        """
        value = self.get(key)
        if value is not None:
            return value
        with self._making:
            value = self.get(key)
            if value is None:
                value, size = make()
                self.put(key, value, size)
        return value

    def clear(self) -> None:
        """Lets go of everything."""
        with self._lock:
            self._held.clear()
            self._used = 0


def content_key(array: NDArray[Any]) -> bytes:
    """16 bytes that stand for an array's type, shape and values: equal pictures have equal keys, whoever opens them."""
    digest = hashlib.blake2b(f"{array.dtype.str}{array.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
