"""The paper's ablation on the nano agent: what fine-tuning, reflection and playing add, over several seeds.

    python tests/benchmarks/nano_ablation.py OUT --base NANO/sft/pointed --seeds 0 1 2

All begin from one agent that has learned to look and hasn't seen a trajectory (``train nano`` leaves one), as the
paper's all begin from one published model; it is the "untrained" one. A seed draws trajectories, their order, and what
is played: slices that show the structure that fine-tuned agents do worst of the larger ones; on slices of the rest they
are held to what they were. Everything lies in OUT and is gone on with after a stop; finished runs are not made again.
Every agent is measured with the embedded click tool, with which it also plays, on the same unseen slices of every
structure, some of which begin with the mask of something else: greedily, as the plugin plays, by chance, as in
training, and greedily on slices of what was played alone. The table goes to standard output, each row's figures to
OUT/results.jsonl.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

import typer

from napari_ibisagent import registry
from napari_ibisagent.evaluation.rewards import PARTS
from napari_ibisagent.training.nano.school import (
    HELD_OUT,
    Curriculum,
    attend,
    open_nano,
    practise,
    speech,
    trial,
    write_trajectories,
)
from napari_ibisagent.training.precision import faster_in_16_bits
from napari_ibisagent.training.rl.regime import Regime

COLUMNS = (
    *("iou", "dice", "presence_f1", "steps", "first_hit", "mend_hit", "stopped"),
    *("only_iou", "only_steps", "chance_iou", "chance_steps"),
)
RESULTS = "results.jsonl"
WEIGHTS = "model.safetensors"
TOOL = registry.DEFAULT_SEGMENTER


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--base", type=Path, help="The agent that all begin from.")
    parser.add_argument("--start", type=Path, help="The agent that rewards are added to, if not SFT + reflection.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--exercises", type=int, default=6000)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--rl-steps", type=int, default=8)
    parser.add_argument("--rl-exercises", type=int, default=32)
    parser.add_argument("--rl-group", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--top-p", type=float, default=0.8)
    parser.add_argument("--kl", type=float, default=0.0)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=["spine"])
    parser.add_argument("--held", type=int, default=48)
    parser.add_argument("--hold", type=float, default=0.15)
    parser.add_argument("--turn-cost", type=float, default=0.05)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--chance", type=int, default=400, help="Slices that it is also measured on by chance.")
    parser.add_argument("--slices", type=int, default=HELD_OUT, help="Where the slices to measure on begin.")
    parser.add_argument("--stage", choices=(*STAGES, "table"), nargs="+", default=["reflection", "sft", "rl", "table"])
    given = parser.parse_args()
    if given.base is None and not {"rewards", "table"}.issuperset(given.stage):
        parser.error("--base is needed for all stages but rewards and table")
    for stage in given.stage:
        if stage == "table":
            _print(given.out)
            continue
        for seed in given.seeds:
            STAGES[stage](given, seed)


def _straight(given: argparse.Namespace, seed: int) -> None:
    _fine_tuned(given, seed, "SFT", reflection=False)


def _reflecting(given: argparse.Namespace, seed: int) -> None:
    _fine_tuned(given, seed, "SFT + reflection", reflection=True)


def _fine_tuned(given: argparse.Namespace, seed: int, name: str, *, reflection: bool) -> None:
    folder = _folder(given, seed, name)
    course = Curriculum(
        given.exercises, reflection=reflection, steps=given.steps, seed=seed, measure_every=0, board=False
    )
    if not (folder / "sft" / WEIGHTS).exists():
        learned = write_trajectories(course, folder / "trajectories")
        attend(course, learned, folder / "trajectories", folder / "sft", start=given.base, tell=_tell)
    _measure(given, seed, name, folder / "sft")


def _played(given: argparse.Namespace, seed: int) -> None:
    """From what is there to begin from."""
    _measure(given, seed, "untrained", given.base)
    starts = {f"{name} + RL": _folder(given, seed, name) / "sft" for name in ("SFT + reflection", "SFT")}
    for name, start in (starts | {"RL": given.base}).items():
        folder = _folder(given, seed, name)
        steps = given.rl_steps if name != "RL" else min(given.rl_steps, 10)  # it never says anything that can be read
        if (start / WEIGHTS).exists() and not (folder / WEIGHTS).exists():
            _practise(given, _regime(given, seed, steps), start, folder)
        if (folder / WEIGHTS).exists():
            _measure(given, seed, name, folder)


def _rewarded(given: argparse.Namespace, seed: int) -> None:
    """Rewards added one by one."""
    start = given.start or _folder(given, seed, "SFT + reflection") / "sft"
    _measure(given, seed, "before the rewards", start)
    for count in range(1, len(PARTS) + 1):
        _rewarded_by(given, seed, PARTS[:count], start)


def _rewarded_by(given: argparse.Namespace, seed: int, parts: tuple[str, ...], start: Path) -> None:
    folder = _folder(given, seed, f"rewards + {' + '.join(parts)}")
    if not (folder / WEIGHTS).exists():
        _practise(given, _regime(given, seed, given.rl_steps), start, folder, parts)
    _measure(given, seed, f"rewards: {', '.join(parts)}", folder)


def _practise(
    given: argparse.Namespace, regime: Regime, start: Path, folder: Path, parts: tuple[str, ...] = ()
) -> None:
    weights, only = {"length": given.turn_cost}, tuple(given.only)
    practise(regime, start, folder, tool=TOOL, parts=parts, weights=weights, only=only, tell=_tell)


def _folder(given: argparse.Namespace, seed: int, name: str) -> Path:
    return given.out / f"seed-{seed}" / name.replace(" + ", "-").lower()


def _regime(given: argparse.Namespace, seed: int, steps: int) -> Regime:
    return Regime(
        steps,
        given.rl_exercises,
        given.rl_group,
        rate=given.rate,
        warm_up=1,
        top_p=given.top_p,
        kl=given.kl,
        held=given.held,
        hold=given.hold,
        passes=given.passes,
        seed=seed,
        eye=False,
        bf16=faster_in_16_bits("cpu"),
    )


def _measure(given: argparse.Namespace, seed: int, name: str, folder: Path) -> None:
    if any(row["name"] == name and row["seed"] == seed for row in _rows(given.out)):
        return
    started = time.perf_counter()
    tried = partial(trial, open_nano(folder), spoken=speech(folder), seed=given.slices, wrongly_given=0.15)
    figures = tried(count=given.count).as_dict()
    for way, found in {
        "only": tried(count=given.count // 4, only=tuple(given.only)),
        "chance": tried(count=given.chance, temperature=1.0) if given.chance else None,
    }.items():
        figures |= {f"{way}_{figure}": value for figure, value in found.as_dict().items()} if found else {}
    row = {"name": name, "seed": seed, "seconds": round(time.perf_counter() - started, 1), **figures}
    with (given.out / RESULTS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    _tell(row)


def _rows(out: Path) -> list[dict]:
    path = out / RESULTS
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def _print(out: Path) -> None:
    rows = _rows(out)
    typer.echo(f"| agent | seeds | {' | '.join(COLUMNS)} |")
    typer.echo(f"|---|---:|{'---:|' * len(COLUMNS)}")
    for name in dict.fromkeys(row["name"] for row in rows):
        mine = [row for row in rows if row["name"] == name]
        cells = []
        for column in COLUMNS:
            values = [row[column] for row in mine if column in row]
            spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{fmean(values):.3f}{spread}" if values else "")
        typer.echo(f"| {name} | {len(mine)} | {' | '.join(cells)} |")


def _tell(figures: dict) -> None:
    typer.echo(figures)


STAGES = {"reflection": _reflecting, "sft": _straight, "rl": _played, "rewards": _rewarded}

if __name__ == "__main__":
    main()
