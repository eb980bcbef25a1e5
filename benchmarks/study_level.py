"""How often a study without an effect finds one, and how often it finds one that is there: the tables of docs/study.md.

    python -m benchmarks.study_level            # all cells, 2,000 studies each, about a quarter of an hour on one core
    python -m benchmarks.study_level studies=200

Studies are made up: 7 arms × seeds × cases, six arms against one, found at Holm's first step (any of six) or, for the
power, at a true difference of 0.05 in all six. The statistics are those that a study uses.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import numpy as np
from scipy import special

from src.downstream.statistics import differences, freedoms, half_width_squared, mean_squares, seed_variances

ARMS = 6  # with synthetic images
ERROR = 0.05 / ARMS
EFFECT = 0.05
SHARES = {  # standard deviations of Dice: between seeds, between cases, of the rest
    "moderate": (0.03, 0.05, 0.06),
    "sharp": (0.02, 0.0, 0.06),
    "seeds": (0.11, 0.01, 0.06),
    "cases": (0.005, 0.15, 0.05),
    "rest": (0.0, 0.0, 0.08),
    "cardiac": (0.02, 0.016, 0.04),
}
SHAPES = ("normal", "skewed", "zeros")
FAILED = (0.0, 0.05)  # share of trainings whose Dice is 0
SEEDS, CASES = (2, 3, 5, 10), (5, 10, 30, 100)
SPREADS = {  # between seeds, of the arms: the baseline, then six
    "two arms 3×": (1, 3, 3, 1, 1, 1, 1),
    "one arm 3×": (1, 3, 1, 1, 1, 1, 1),
    "all but the baseline 3×": (1, 3, 3, 3, 3, 3, 3),
    "the baseline 2×": (2, 1, 1, 1, 1, 1, 1),
    "the baseline 3×": (3, 1, 1, 1, 1, 1, 1),
}


def studies(
    random: np.random.Generator,
    count: int,
    seeds: int,
    cases: int,
    shares: Sequence[float],
    shape: str = "normal",
    failed: float = 0.0,
    spreads: Sequence[float] = (1,) * (ARMS + 1),
) -> np.ndarray:
    """(count, arms, seeds, cases) Dice without an effect; ``normal`` ones are about 0."""
    size = (count, ARMS + 1)
    between_seeds, between_cases, rest = shares
    table = (
        between_seeds * np.array(spreads)[:, None, None] * random.normal(size=(*size, seeds, 1))
        + between_cases * random.normal(size=(*size, 1, cases))
        + rest * random.normal(size=(*size, seeds, cases))
    )
    if shape != "normal":  # about .85, with cases that are easy or hard to all arms
        table = special.expit(1.8 + random.normal(size=(count, 1, 1, cases)) + table / 0.12)
    if shape == "zeros":  # a tenth of all images, more in some cases than in others
        table *= random.random(table.shape) > random.beta(0.3, 2.7, (count, 1, 1, cases))
    collapsed = random.random((*size, seeds, 1)) < failed
    return np.where(collapsed, -0.7 if shape == "normal" else 0.0, table)


def by_method(table: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Name of a method → (count, arms) whether it calls the difference to the baseline one."""
    *_, seeds, cases = table.shape
    case_freedom, seed_freedom = freedoms(cases, seeds, ARMS)
    found: dict[str, list[np.ndarray]] = {}
    pooled = 2 * cases * seed_variances(table.mean(-1)).min(-1)
    for arm in range(1, ARMS + 1):
        mean, case_variance, seed_variance = differences(table, arm, 0)
        between_cases, between_seeds, _ = mean_squares(table[:, arm] - table[:, 0])
        images = seeds * cases

        def half(case: np.ndarray, seed: np.ndarray, freedom: int, images: int = images) -> np.ndarray:
            return np.asarray(half_width_squared(case / images, case_freedom, seed / images, freedom, ERROR))

        squared = {
            "this project": half(case_variance * images, seed_variance * images, seed_freedom),
            "each arm alone": half(between_cases, between_seeds, seeds - 1),
            "pooled": half(between_cases, pooled, seed_freedom),
            "pooled or own": half(between_cases, np.maximum(pooled, between_seeds), seed_freedom),
            "Satterthwaite": _satterthwaite(between_cases, between_seeds, cases - 1, seeds - 1) / images,
            "Satterthwaite, pooled": _satterthwaite(between_cases, pooled, cases - 1, seed_freedom) / images,
        }
        for name, value in squared.items():
            found.setdefault(name, []).append(mean**2 > value)
    for name, columns in found.items():
        yield name, np.stack(columns, axis=1)


def _satterthwaite(a: np.ndarray, b: np.ndarray, freedom_a: int, freedom_b: int) -> np.ndarray:
    freedom = (a + b) ** 2 / np.maximum(a**2 / freedom_a + b**2 / freedom_b, np.finfo(float).tiny)
    return special.stdtrit(freedom, ERROR / 2) ** 2 * (a + b)


def levels(count: int) -> dict[str, list[tuple[float, str]]]:
    """Of each method: any of six found without an effect, in every cell, the worst first."""
    random = np.random.default_rng(0)
    found: dict[str, list[tuple[float, str]]] = {}
    for (name, shares), shape, failed, seeds, cases in product(SHARES.items(), SHAPES, FAILED, SEEDS, CASES):
        table = studies(random, count, seeds, cases, shares, shape, failed)
        for method, called in by_method(table):
            cell = f"{name}, {shape}{', failed trainings' * (failed > 0)}, {seeds} seeds × {cases} cases"
            found.setdefault(method, []).append((float(called.any(1).mean()), cell))
    return {method: sorted(cells, reverse=True) for method, cells in found.items()}


def _print_row(name: str, values: Mapping[str, float]) -> None:
    print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in values.values()) + " |", flush=True)


def main(count: int) -> None:
    random = np.random.default_rng(1)
    names = [name for name, _ in by_method(studies(random, 2, 2, 2, SHARES["moderate"]))]
    heads = "| | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names)
    print(f"\nFound at a true difference of {EFFECT} (share of arms)\n\n{heads}")
    for name, (seeds, cases) in product(("cardiac", "sharp", "moderate"), product(SEEDS, CASES)):
        table = studies(random, count, seeds, cases, SHARES[name])
        table[:, 1:] += EFFECT
        _print_row(f"{name}, {seeds} × {cases}", {m: float(called.mean()) for m, called in by_method(table)})
    print(f"\nWithout an effect, arms that spread unlike (any of six)\n\n{heads}")
    for (name, spreads), (seeds, cases) in product(SPREADS.items(), ((2, 30), (3, 10), (3, 30), (5, 30), (10, 30))):
        worst: dict[str, float] = {}
        for shares in ("sharp", "seeds"):
            table = studies(random, count, seeds, cases, SHARES[shares], spreads=spreads)
            for method, called in by_method(table):
                worst[method] = max(worst.get(method, 0.0), float(called.any(1).mean()))
        _print_row(f"{name}, {seeds} × {cases}", worst)
    print("\nWithout an effect, all cells (any of six)")
    for method, cells in levels(count).items():
        above = sum(level > 0.05 for level, _ in cells)
        print(f"{method}: {len(cells)} cells, {above} above .05; the worst:")
        for level, cell in cells[:5]:
            print(f"  {level:.3f} {cell}")


if __name__ == "__main__":
    main(int(dict(argument.split("=") for argument in sys.argv[1:]).get("studies", 2000)))
