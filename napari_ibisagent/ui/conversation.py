"""The conversation: the user's sentences, the agent's thoughts, a card for each step, the outcome."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QVBoxLayout, QWidget

from napari_ibisagent.core.actions import Box, Click, Revert
from napari_ibisagent.core.episode import Episode, Outcome, Step
from napari_ibisagent.core.session import Session

_COLOURS = {
    "user": "#3d6b99",
    "agent": "#6a6a6a",
    "done": "#2e8b57",
    "not_found": "#b8860b",
    "step_limit": "#b8860b",
    "cancelled": "#808080",
    "failed": "#b03030",
    "warning": "#b8860b",
}


class Conversation(QScrollArea):  # type: ignore[misc]
    """Shows the episodes of a session as cards, newest at the bottom. Text can be selected and copied."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFrameShape(QFrame.Shape.NoFrame)
        body = QWidget()
        self._column = QVBoxLayout(body)
        self._column.setContentsMargins(4, 4, 4, 4)
        self._column.setSpacing(6)
        self._column.addStretch(1)
        self.setWidget(body)
        self._shown: list[tuple[str, str]] = []
        self._streaming: QLabel | None = None

    def show_session(self, session: Session, warnings: tuple[str, ...] = ()) -> None:
        """Replaces only the cards that changed."""
        cards = [card for episode in session.episodes for card in cards_of(episode)]
        cards += [("warning", f"Warning: {text}") for text in warnings]
        same = 0
        while same < min(len(cards), len(self._shown)) and cards[same] == self._shown[same]:
            same += 1
        self._drop_streaming()
        for at in reversed(range(same, len(self._shown))):
            item = self._column.takeAt(at)
            widget = None if item is None else item.widget()
            if widget is not None:
                widget.setParent(None)
                widget.deleteLater()
        for kind, text in cards[same:]:
            self._column.insertWidget(self._column.count() - 1, _card(kind, text))
        self._shown = cards
        self._to_bottom()

    def stream(self, text: str) -> None:
        """Adds a piece of what the agent is saying right now."""
        if self._streaming is None:
            self._streaming = _card("agent", "")
            self._column.insertWidget(self._column.count() - 1, self._streaming)
        self._streaming.setText(self._streaming.text() + text)
        self._to_bottom()

    def texts(self) -> list[str]:
        """What is shown, from top to bottom."""
        return [text for _, text in self._shown]

    def _drop_streaming(self) -> None:
        if self._streaming is not None:
            self._column.removeWidget(self._streaming)
            self._streaming.deleteLater()
            self._streaming = None

    def _to_bottom(self) -> None:
        bar = self.verticalScrollBar()
        bar.rangeChanged.connect(lambda _, top: bar.setValue(top), Qt.ConnectionType.SingleShotConnection)
        bar.setValue(bar.maximum())


def cards_of(episode: Episode) -> list[tuple[str, str]]:
    """(kind, text) of an episode's cards: the sentence, each step, what is proposed, the outcome."""
    cards = [("user", episode.prompt)]
    cards += [("agent", _step_text(step, number)) for number, step in enumerate(episode.steps, start=1)]
    if episode.pending is not None and episode.pending.verdict is None:
        wanted = signs(episode.pending.turn.actions)
        thought = episode.pending.turn.thought
        cards.append(("agent", f"{len(episode.steps) + 1} {wanted}  proposed\n{thought}".strip()))
    if episode.outcome is not None:
        text = f"{_OUTCOMES[episode.outcome]}. {episode.reason}".strip()
        cards.append((episode.outcome.value, f"{episode.thought}\n{text}".strip()))
    return cards


_OUTCOMES = {
    Outcome.DONE: "Done",
    Outcome.NOT_FOUND: "Not found",
    Outcome.STEP_LIMIT: "Stopped at the limit",
    Outcome.CANCELLED: "Cancelled",
    Outcome.FAILED: "Failed",
}


def _step_text(step: Step, number: int) -> str:
    score = "" if step.score is None else f"  score {step.score:.2f}"
    reason = f"\n{step.reason}" if step.reason else ""
    head = f"{number} {signs(step.actions or step.proposed)}{score}  {step.ms:.0f} ms  {step.author}, {step.verdict}"
    return f"{head}\n{step.thought}{reason}".strip()


def signs(actions: tuple[object, ...]) -> str:
    """The actions in a few characters: + and - for clicks, box, revert; painted for none."""
    words = [("+" if a.positive else "−") for a in actions if isinstance(a, Click)]
    words += ["box" for a in actions if isinstance(a, Box)] + ["revert" for a in actions if isinstance(a, Revert)]
    return " ".join(words) or "painted"


def _card(kind: str, text: str) -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    flags = Qt.TextInteractionFlag
    label.setTextInteractionFlags(flags.TextSelectableByMouse | flags.TextSelectableByKeyboard)
    label.setStyleSheet(
        f"QLabel {{ border-left: 3px solid {_COLOURS[kind]}; padding: 4px 6px; background: rgba(128, 128, 128, 30); }}"
    )
    return label
