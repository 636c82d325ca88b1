"""How TRL speaks with an agent of ours: a processor whose chat template and answers are those of the plugin.

TRL 1.16 plays several turns only as calls of tools. So the template writes a tool's answer as the user's message that
it stands for, and a call of ``answer`` as the words that were said; and the tokenizer reads every answer as such a call
that doesn't end the episode. An answer that does, and one that can't be read, is none, so that TRL goes no further.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_ibisagent.core.actions import Turn
from napari_ibisagent.core.errors import DialectError
from napari_ibisagent.policies.qwen_vl.loading import Opened
from napari_ibisagent.training.rl.trl_environment import ANSWER, TEXT

# ChatML, which both families speak; for checkpoints without a template. As ``policies.qwen_vl.prompt`` writes it.
_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Stands before the checkpoint's own template and changes the messages that it goes through. A call of another name,
# which only TRL's own check of templates makes, is written out.
_TURNS = (
    "{%- set told = namespace(all=[]) -%}{%- for message in messages -%}"
    "{%- if message.role == 'tool' -%}"
    "{%- set told.all = told.all + [{'role': 'user', 'content': message.content}] -%}"
    "{%- elif message.tool_calls -%}{%- set call = message.tool_calls[0].function -%}"
    "{%- set words = call.arguments." + TEXT + " if call.name == '" + ANSWER + "' and call.arguments." + TEXT + "\n"
    "    else call.name ~ (call.arguments | tojson) -%}"
    "{%- set told.all = told.all + [{'role': 'assistant', 'content': words}] -%}"
    "{%- else -%}{%- set told.all = told.all + [message] -%}{%- endif -%}"
    "{%- endfor -%}{%- set messages = told.all -%}"
)


def spoken_template(own: str | None) -> str:
    """A checkpoint's template, or ChatML, for conversations of tool calls."""
    return _TURNS + (own or _CHATML)


def processor_of(opened: Opened, template: str, parse: Callable[[str], Turn] | None = None) -> Any:
    """The processor of an opened checkpoint, which reads pictures as the plugin does.

    parse: of the dialect that answers are read in; None: as the tokenizer itself reads calls.
    """
    from transformers import Qwen2_5_VLProcessor, Qwen3VLProcessor

    family: Any = Qwen3VLProcessor if opened.model.config.model_type == "qwen3_vl" else Qwen2_5_VLProcessor

    class Processor(family):  # type: ignore[misc]  # chosen by the checkpoint
        """The family's, without videos: their processor needs torchvision."""

        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            """Any video processor will do, also none."""
            if argument_name == "video_processor":
                return None
            return super().check_argument_for_proper_class(argument_name, argument)

        def save_pretrained(self, save_directory: Any, **_: Any) -> None:
            """What lies beside the weights, as it was opened."""
            opened.tokenizer.save_pretrained(save_directory)
            opened.images.save_pretrained(save_directory)

    tokenizer = opened.tokenizer if parse is None else speaking(opened.tokenizer, parse)
    return Processor(image_processor=opened.images, tokenizer=tokenizer, video_processor=None, chat_template=template)


def speaking(tokenizer: Any, parse: Callable[[str], Turn]) -> Any:
    """A copy of a tokenizer whose ``parse_response`` reads answers of a dialect as calls of ``answer``."""
    import copy

    kind = type(tokenizer)

    def parse_response(self: Any, response: Any, *_: Any, **__: Any) -> dict[str, Any]:
        text = self.decode(response, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        said: dict[str, Any] = {"role": "assistant", "content": text}
        if _goes_on(text, parse):
            call = {"type": "function", "function": {"name": ANSWER, "arguments": {TEXT: text}}}
            said |= {"content": "", "tool_calls": [call]}
        return said

    made = copy.copy(tokenizer)
    # Of the same name, which tokenizers write into their files.
    made.__class__ = type(kind.__name__, (kind,), {"parse_response": parse_response})
    made.response_template = {}  # TRL asks whether there is one; nobody reads it
    return made


def _goes_on(text: str, parse: Callable[[str], Turn]) -> bool:
    try:
        return not parse(text).terminates
    except DialectError:
        return False
