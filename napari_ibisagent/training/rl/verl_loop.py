"""``agent_loop``: episodes as an agent loop of verl (0.9), for its GRPO with Ray and vLLM on many nodes.

verl calls the model and learns; the loop plays. It is named in the file of ``agent_loop_config_path``::

    - name: ibisagent
      _target_: napari_ibisagent.training.rl.verl_loop.agent_loop
      terms: /shared/terms.toml

With history an episode is one conversation. Without it every turn is one of its own, as the published agent is played;
verl's newer trainer (``trainer.use_v1``, its default) takes such lists and gives all of them the episode's reward.
"""

from __future__ import annotations

from functools import cache
from typing import Any
from uuid import uuid4

from PIL import Image

from napari_ibisagent.core.dialects.conversation import Message
from napari_ibisagent.core.errors import InputError
from napari_ibisagent.core.overlay import Picture
from napari_ibisagent.io.shown import fitted
from napari_ibisagent.training.rl.aside import aside
from napari_ibisagent.training.rl.driver import Driver, Feedback
from napari_ibisagent.training.rl.terms import Terms, read_terms
from napari_ibisagent.training.rl.wire import as_chat


def agent_loop(terms: str, **given: Any) -> Any:
    """An agent loop that plays by the terms of a file; hydra calls this for every episode. Raises InputError."""
    return loop_class()(terms=_terms(terms), **given)


@cache
def _terms(path: str) -> Terms:
    return read_terms(path)


@cache
def loop_class() -> Any:
    """The class, made of verl's own. Raises InputError where verl is missing."""
    try:
        from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopMetrics, AgentLoopOutput
        from verl.utils.profiler import simple_timer
    except ImportError as error:
        raise InputError("verl isn't installed here. Run this in its environment: pip install verl") from error

    class IbisLoop(AgentLoopBase):  # type: ignore[misc]  # carries no types
        """See the module. One instance an episode."""

        def __init__(self, *args: Any, terms: Terms, **given: Any) -> None:
            super().__init__(*args, **given)
            self._by = terms
            self._longest = int(self.rollout_config.response_length)
            self._timing: dict[str, Any] = {}
            self._told: dict[str, Any] = {}

        async def run(self, sampling_params: dict[str, Any], **row: Any) -> Any:
            """Plays the exercise of a row. Raises BackendError where the click tool fails."""
            driver = self._by.driver()
            read = driver.begin(self._by.named().exercise(str(row["exercise"])))
            play = self._conversation if self._by.history else self._turns
            outputs = await play(driver, read, sampling_params)
            earned = driver.rewards(self._by.config)
            outputs[-1].reward_score = float(sum(earned))
            for output in outputs:
                # Without the last entry verl can't hand the reward on to the other conversations of an episode.
                output.extra_fields |= {"turn_scores": list(earned), "tool_rewards": [], "reward_extra_info": {}}
            return outputs[0] if self._by.history else outputs

        async def _conversation(self, driver: Driver, read: tuple[Message, ...], sampling: dict[str, Any]) -> list[Any]:
            chat, key = as_chat(read, self._show), uuid4().hex
            pictures = _pictures(chat)
            ids = await self.ct_build_initial_tokens(chat, images=pictures)
            mask: list[int] = []
            logs: list[float] | None = None
            while True:
                answer = await self._asked(key, ids, pictures, sampling)
                before = [] if logs is None and answer.log_probs else logs
                merged, mask, logs = await self.ct_merge_assistant_token(
                    ids, answer.token_ids, mask, before, assistant_logprobs=answer.log_probs or None
                )
                ids = merged.token_ids
                text, feedback = await self._played(driver, answer.token_ids)
                if feedback.done or len(mask) >= self._longest:
                    break
                said = [*chat, {"role": "assistant", "content": text}]
                chat = [*said, *as_chat(feedback.messages[-1:], self._show)]
                merged, longer, logs_ = await self.ct_merge_context_msg(said, chat, ids, mask, logs)
                if len(longer) >= self._longest:
                    break  # there is no room for a further turn
                ids, mask, logs = merged.token_ids, longer, logs_
                pictures = _pictures(chat)
            start = len(ids) - len(mask)
            return [self._output(ids[:start], ids[start:], mask, logs, pictures, 2 * driver.answers)]

        async def _turns(self, driver: Driver, read: tuple[Message, ...], sampling: dict[str, Any]) -> list[Any]:
            outputs = []
            while read:
                chat = as_chat(read, self._show)
                pictures = _pictures(chat)
                ids = await self.ct_build_initial_tokens(chat, images=pictures)
                answer = await self._asked(uuid4().hex, ids, pictures, sampling)
                mask = [1] * len(answer.token_ids)
                outputs.append(self._output(ids, answer.token_ids, mask, answer.log_probs, pictures, 2))
                _, feedback = await self._played(driver, answer.token_ids)
                read = feedback.messages
            return outputs

        def _show(self, picture: Picture) -> Image.Image:
            return fitted(picture, self._by.max_pixels)

        async def _asked(self, key: str, ids: list[int], pictures: list[Any], sampling: dict[str, Any]) -> Any:
            """The model's answer."""
            self._assert_mm_supported(True)
            with simple_timer("generate_sequences", self._timing):
                answer = await self.server_manager.generate(
                    request_id=key,
                    prompt_ids=ids,
                    sampling_params=sampling,
                    image_data=pictures,
                    mm_processor_kwargs=self._get_mm_processor_kwargs(),
                )
            # The first says with which weights an episode began, the last with which it ended.
            told = dict(answer.extra_fields)
            last = {name: value for name, value in told.items() if name == "max_global_steps" and value}
            self._told = told | self._told | last
            return answer

        async def _played(self, driver: Driver, tokens: list[int]) -> tuple[str, Feedback]:
            """The text of an answer, and what it led to."""
            text = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            with simple_timer("tool_calls", self._timing):
                return text, await aside(driver.answer, text)

        def _output(
            self,
            prompt: list[int],
            response: list[int],
            mask: list[int],
            logs: list[float] | None,
            pictures: list[Any],
            turns: int,
        ) -> Any:
            return AgentLoopOutput(
                prompt_ids=prompt,
                response_ids=response[: self._longest],
                response_mask=mask[: self._longest],
                response_logprobs=logs[: self._longest] if logs else None,
                multi_modal_data={"images": pictures},
                mm_processor_kwargs=self._get_mm_processor_kwargs(),
                num_turns=turns,
                metrics=AgentLoopMetrics(**self._timing),
                extra_fields=dict(self._told),
            )

    return IbisLoop


def _pictures(chat: list[dict[str, Any]]) -> list[Any]:
    """The pictures of a chat, in order."""
    parts = [part for message in chat for part in message["content"] if isinstance(part, dict)]
    return [part["image"] for part in parts if part["type"] == "image"]
