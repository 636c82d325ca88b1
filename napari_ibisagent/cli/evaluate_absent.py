"""``ibisagent evaluate --absent``: how often an agent says "not found" where there is nothing to find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_ibisagent.cli.console import Interrupt, console

if TYPE_CHECKING:
    from napari_ibisagent.evaluation.absent import Denial
    from napari_ibisagent.evaluation.manifest import Case
    from napari_ibisagent.evaluation.runner import Skipped


def evaluate_absent(
    cases: tuple[Case, ...], policy: str, segmenter: str, max_steps: int, interrupt: Interrupt
) -> tuple[dict[str, Any], str]:
    """Asks for what isn't there, prints how often that was said; returns the results (JSON) and their Markdown."""
    from dataclasses import asdict

    from rich.table import Table

    from napari_ibisagent.evaluation.absent import shares

    denials, skipped = _ask(cases, policy, segmenter, max_steps, interrupt)
    rows = shares(denials)
    table = Table("pictures", "asked", "rightly not found")
    for name, asked, share in rows:
        table.add_row(name, str(asked), f"{share:.0%}")
    out = console()
    out.print(table)
    for denial in denials:
        if not denial.right:
            out.print(f"  {denial.case} {denial.target}: {denial.outcome}, {denial.reason}", markup=False)
    for item in skipped:
        out.print(f"  {item.case}: {item.reason}", markup=False)
    results = {
        "summary": [{"pictures": name, "asked": asked, "right": share} for name, asked, share in rows],
        "tasks": [asdict(denial) for denial in denials],
        "skipped": [asdict(item) for item in skipped],
    }
    head = "| pictures | asked | rightly not found |\n|---|---:|---:|\n"
    return results, head + "".join(f"| {name} | {asked} | {share:.0%} |\n" for name, asked, share in rows)


def _ask(
    cases: tuple[Case, ...], policy: str, segmenter: str, max_steps: int, interrupt: Interrupt
) -> tuple[list[Denial], list[Skipped]]:
    from rich.console import Console
    from rich.progress import Progress

    from napari_ibisagent.evaluation.absent import deny
    from napari_ibisagent.evaluation.runner import Skipped

    denials: list[Denial] = []
    skipped: list[Skipped] = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("asking", total=None)
        for item in deny(cases, policy, segmenter, max_steps, interrupt):
            if isinstance(item, Skipped):
                skipped.append(item)
            else:
                denials.append(item)
            progress.update(bar, description=f"{item.case} {item.target}")
    return denials, skipped
