"""``scheduler_class``: episodes as a multi-turn scheduler of ms-swift (4.6), for its GRPO on many cards and nodes.

ms-swift calls the model and learns; the scheduler plays. Its hooks are those that both of ms-swift's modes call: the
rollout server, and vLLM beside the trainer. A row of the data set has the column ``exercise`` (``rows``), and
``--use_gym_env true`` makes the trainer take ``total_reward`` for the reward.
"""

from __future__ import annotations

import base64
from typing import Any

from napari_ibisagent.core.errors import InputError
from napari_ibisagent.core.overlay import Picture
from napari_ibisagent.io.shown import fitted, png
from napari_ibisagent.training.rl.aside import aside
from napari_ibisagent.training.rl.driver import Driver
from napari_ibisagent.training.rl.terms import Terms
from napari_ibisagent.training.rl.wire import as_chat


def scheduler_class(terms: Terms) -> Any:
    """A ``MultiTurnScheduler`` that plays by the terms; ms-swift makes the instances. Raises InputError."""
    if not terms.history:
        raise InputError("ms-swift keeps the whole conversation. Set history to true, and fine-tune the agent so.")
    try:
        from swift.rollout.multi_turn import MultiTurnScheduler
    except ImportError as error:
        raise InputError("ms-swift isn't installed here. Run this in its environment: pip install ms-swift") from error

    def show(picture: Picture) -> str:
        return as_base64(picture, terms.max_pixels)

    class IbisScheduler(MultiTurnScheduler):  # type: ignore[misc]  # carries no types
        """See the module. Pictures lie in the messages: the trainer gets these back from both modes."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._drivers: dict[Any, Driver] = {}
            self._newest: dict[Any, dict[str, Any]] = {}

        async def on_trajectory_start(self, requests: list[Any]) -> None:
            """Begins an episode for each request, which then asks what the agent reads first."""
            for request in requests:
                exercise = terms.named().exercise(str(request.data_dict["exercise"]))
                driver = self._drivers[request.uuid] = terms.driver()
                request.messages = as_chat(driver.begin(exercise), show)
                request.images = []

        async def on_turn_end(self, infer_request: Any, response_choice: Any, current_turn: int) -> dict[str, Any]:
            """Plays the answer; raises BackendError where the click tool fails."""
            key = infer_request.uuid
            driver = self._drivers[key]
            feedback = await aside(driver.answer, str(response_choice.message.content))
            earned = driver.rewards(terms.config)
            if feedback.done or (self.max_turns and current_turn >= self.max_turns):
                del self._drivers[key]
            else:
                (self._newest[key],) = as_chat(feedback.messages[-1:], show)
            infos = {"total_reward": float(sum(earned)), "step_rewards": list(earned)}
            return {"done": feedback.done, "rollout_infos": infos}

        def step(self, infer_request: Any, response_choice: Any, current_turn: int) -> dict[str, Any]:
            """Adds what the agent reads next."""
            infer_request.messages.append(self._newest.pop(infer_request.uuid))
            return {"infer_request": infer_request}

    return IbisScheduler


def as_base64(picture: Picture, max_pixels: int) -> str:
    """A picture (H, W, 3) as it travels to a server: PNG without metadata, in base64."""
    return base64.b64encode(png(fitted(picture, max_pixels))).decode("ascii")
