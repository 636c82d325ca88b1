"""Environments for TRL's ``GRPOTrainer(environment_factory=…)``: an episode's turns as calls of a tool.

``SpokenEnvironment`` is for agents that speak a dialect of ours: a whole answer is one call, which the chat template
and the tokenizer of ``trl_speech`` see to. So the agent is trained on what it reads and says in the plugin, faults of
form among it. ``ToolEnvironment`` is for models that call tools by themselves, in their own template; its tools are
those of the dialect ``tool_calls``, so that what was trained so can be played.

TRL makes a tool of every public method, and shows what a tool raises to the model: so a failure of the click tool is
kept, and raised when the episode is to be rewarded. Every answer of a tool has a picture, since TRL 1.16 fails where
none of a batch has one (``split_pixel_values_by_grid`` is given lists).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from PIL import Image

from napari_ibisagent.core.dialects.conversation import Message
from napari_ibisagent.core.errors import BackendError, InputError
from napari_ibisagent.evaluation.rewards import RewardConfig
from napari_ibisagent.training.rl.terms import Terms
from napari_ibisagent.training.rl.wire import parts

# What TRL hands to the model as a tool's answer: parts of a message, pictures as PIL images.
Parts = list[dict[str, Any]]
# The one tool of ``SpokenEnvironment``, and its argument.
ANSWER, TEXT = "answer", "text"
_OVER = "The episode is over."


class _Environment(ABC):
    """What both kinds share: an episode at a time; TRL resets an environment and uses it again."""

    def __init__(self, terms: Terms) -> None:
        if not terms.history:
            raise InputError("TRL keeps the whole conversation. Set history to true, and fine-tune the agent so.")
        self._terms = terms
        self._driver = terms.driver()
        self._failed: BackendError | None = None
        self._read = Message("user", "")

    def reset(self, exercise: str, **_: Any) -> Parts:
        """Begins the exercise of that name; what the model reads first, after the system's message."""
        self._failed = None
        self._read = self._driver.begin(self._terms.named().exercise(exercise))[-1]
        return parts(self._read, Image.fromarray)

    def _take(self, text: str) -> Parts:
        """Plays an answer; what the model reads next."""
        if self._over:
            return parts(self._read, Image.fromarray)
        try:
            feedback = self._driver.answer(text)
        except BackendError as error:
            self._failed = error
            self._read = replace(self._read, text=_OVER)
        else:
            self._read = replace(self._read, text=_OVER) if feedback.done else feedback.messages[-1]
        return parts(self._read, Image.fromarray)

    def _earned(self, completion: Sequence[dict[str, Any]]) -> float:
        """The episode's reward, once TRL has the whole completion. Raises BackendError where the tool failed."""
        if self._failed is None:
            for text in self._left(completion):
                self._take(text)
        if self._failed is not None:
            raise self._failed
        return self._driver.reward(self._config)

    @property
    def _over(self) -> bool:
        return self._driver.episode.outcome is not None

    @property
    def _config(self) -> RewardConfig:
        return self._terms.config

    @abstractmethod
    def _left(self, completion: Sequence[dict[str, Any]]) -> Sequence[str]:
        """The answers of a completion that no tool was called for."""


class SpokenEnvironment(_Environment):
    """The agent answers in its dialect."""

    def answer(self, text: str) -> Parts:
        """Take a turn.

        Args:
            text: The whole answer, in the agent's dialect.

        Returns:
            The picture with the new mask drawn over it, and what to do with it.
        """
        return self._take(text)

    def _left(self, completion: Sequence[dict[str, Any]]) -> Sequence[str]:
        said = [_said(message) for message in completion if message["role"] == "assistant"]
        return said[self._driver.answers :]


class ToolEnvironment(_Environment):
    """The model calls a tool for each turn; x and y run from 0 to 999 across the picture.

    What it says beside a call doesn't come here, so form isn't rewarded; nor is a call that TRL itself refuses.
    """

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms)
        if terms.dialect != "tool_calls":
            raise InputError("Tools are called in the dialect tool_calls. Set dialect to that.")

    def add_point(self, point_2d: list[int], point_type: str) -> Parts:
        """Click: a point inside of the target, or one that isn't part of it.

        Args:
            point_2d: [x, y], each from 0 to 999 across the picture.
            point_type: "positive" where a part of the target is missing, "negative" where something else is covered.

        Returns:
            The picture with the new mask drawn over it.
        """
        return self._call("add_point", point_2d=point_2d, point_type=point_type)

    def add_bbox(self, bbox_2d: list[int]) -> Parts:
        """Draw a box round the target.

        Args:
            bbox_2d: [x1, y1, x2, y2], each from 0 to 999 across the picture.

        Returns:
            The picture with the new mask drawn over it.
        """
        return self._call("add_bbox", bbox_2d=bbox_2d)

    def revert_action(self) -> Parts:
        """Take back the last action.

        Returns:
            The picture with the mask as it was before.
        """
        return self._call("revert_action")

    def discard_mask(self) -> Parts:
        """Set the given mask aside, and begin from nothing.

        Returns:
            The picture without a mask.
        """
        return self._call("discard_mask")

    def stop_action(self, answer: str) -> Parts:
        """End: the mask fits, or the picture doesn't show the target.

        Args:
            answer: What was segmented; or "not found", and why.

        Returns:
            That the episode is over.
        """
        return self._call("stop_action", answer=answer)

    @property
    def _config(self) -> RewardConfig:
        return super()._config.weighted(format=0.0)

    def _call(self, name: str, **arguments: Any) -> Parts:
        call = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False).replace("<", r"\u003c")
        return self._take(f"<tool_call>\n{call}\n</tool_call>")

    def _left(self, completion: Sequence[dict[str, Any]]) -> Sequence[str]:
        """The last words, where they call no tool: the model fell out of its part."""
        last = completion[-1] if completion else None
        if last is None or last["role"] != "assistant" or last.get("tool_calls") or self._over:
            return ()
        return (str(last["content"]),)


def episode_reward(
    completions: Sequence[Sequence[dict[str, Any]]], environments: Sequence[_Environment], **_: Any
) -> list[float]:
    """TRL's reward function: one number an episode. Raises BackendError where the click tool failed in one."""
    return [one._earned(completion) for one, completion in zip(environments, completions, strict=True)]


def _said(message: dict[str, Any]) -> str:
    calls = message.get("tool_calls")
    return str(calls[0]["function"]["arguments"][TEXT] if calls else message["content"])
