"""Work beside an event loop: many conversations wait for a model in one, and a click tool would hold all of them up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

_Takes = ParamSpec("_Takes")
_Gives = TypeVar("_Gives")
# Click tools share one processor or one card; more of them at once would only wait for each other.
_THREADS = ThreadPoolExecutor(2, thread_name_prefix="click-tool")


async def aside(call: Callable[_Takes, _Gives], *args: _Takes.args, **kwargs: _Takes.kwargs) -> _Gives:
    """What a call gives or raises, made in another thread; two at a time in a process, whatever the event loop."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, lambda: call(*args, **kwargs))
