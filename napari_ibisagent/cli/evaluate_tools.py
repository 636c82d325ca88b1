"""``ibisagent evaluate --policy oracle``: the click tool against classic ones, with simulated clicks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari_ibisagent.cli.console import Interrupt, console

if TYPE_CHECKING:
    from napari_ibisagent.evaluation.clicking import ClickLine, Played
    from napari_ibisagent.evaluation.manifest import Case
    from napari_ibisagent.evaluation.runner import Skipped

_WIDE = 130
_CLASSIC = "geodesic"


def evaluate_tools(
    cases: tuple[Case, ...], segmenter: str, clicks: int, interrupt: Interrupt
) -> tuple[dict[str, Any], str]:
    """Plays every label with every tool, prints the tables; returns the results (JSON) and their Markdown."""
    from dataclasses import asdict

    from napari_ibisagent.evaluation.clicking import lines, markdown, trust
    from napari_ibisagent.evaluation.manifest import family_of

    played, skipped = _play(cases, segmenter, clicks, interrupt)
    overall, by_modality = lines(played, lambda _: "all"), lines(played, lambda p: family_of(p.modality))
    own = [p for p in played if p.tool == segmenter]
    _print([*by_modality, *overall])
    correlation, error, masks = trust(own)
    out = console()
    out.print(
        f"The score of {segmenter} correlates with the true IoU at {correlation:.2f} and is {error:.2f} off on "
        f"average ({masks} masks)."
    )
    out.print(f"{len(own)} labels, {len(skipped)} cases or labels passed over")
    for item in skipped:
        out.print(f"  {item.case} {item.target}: {item.reason}", markup=False)
    results = {
        "summary": [asdict(line) for line in overall],
        "by_modality": [asdict(line) for line in by_modality],
        "score": {"correlation": correlation, "mean_error": error, "masks": masks},
        "tasks": [asdict(p) for p in played],
        "skipped": [asdict(item) for item in skipped],
    }
    return results, markdown([*overall, *by_modality])


def _play(
    cases: tuple[Case, ...], segmenter: str, clicks: int, interrupt: Interrupt
) -> tuple[list[Played], list[Skipped]]:
    from rich.console import Console
    from rich.progress import Progress

    from napari_ibisagent import registry
    from napari_ibisagent.evaluation.baselines import BASELINES
    from napari_ibisagent.evaluation.clicking import play, questions
    from napari_ibisagent.evaluation.runner import Skipped

    names = dict.fromkeys((segmenter, _CLASSIC))
    tools = [*(registry.load("segmenters", name) for name in names), *BASELINES]
    played: list[Played] = []
    skipped: list[Skipped] = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("evaluating", total=sum(max(1, len(case.tasks)) for case in cases))
        for item in questions(cases):
            if interrupt():
                break
            if isinstance(item, Skipped):
                skipped.append(item)
            else:
                played += [play(tool, item, clicks) for tool in tools]
            progress.update(bar, advance=1, description=f"{item.case} {item.target}")
    return played, skipped


def _print(lines: Sequence[ClickLine]) -> None:
    from rich.table import Table

    from napari_ibisagent.evaluation.clicking import HEADINGS, cells

    out = console()
    if not out.is_terminal:
        out.width = max(out.width, _WIDE)
    table = Table(*HEADINGS)
    for line in lines:
        table.add_row(*cells(line))
    out.print(table)
