"""What the audit says of generators that never saw the patients: ``python -m benchmarks.audit_unseen RUN [RUN …]``.

The patients are of chest X-rays, drawn anew for each of 20 repetitions from those that the generator did not learn
from: half of them stand for its training images, the others for held-out ones. The runs take turns; they are GANs at
one resolution, of these X-rays or of other data, as ``benchmarks.generator_copies`` trains them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.copies import load
from src.comparison.seeds import mean_and_margin
from src.data.store import Split
from src.metrics.membership import Attack
from src.release.audit import Audit
from src.release.comparison import Comparison
from src.release.generated import generated_split
from src.training.restore import learned_from, load_generator

REPETITIONS, PATIENTS, MADE = 20, 150, 100


def audited(made: Split, patients: Split, seed: int) -> Attack:
    """The attack on ``patients``, one image each, of whom a half drawn by ``seed`` stands for what was learned from."""
    order = np.random.default_rng(seed).permutation(len(patients))[: 2 * PATIENTS]
    learned, others = (patients.take(np.sort(half)) for half in np.array_split(order, 2))
    return Audit.of(Comparison.between(learned, others, 1), made, 1).nearest


def main(arguments: Sequence[str] | None = None) -> None:
    torch.set_num_threads(1)
    found: list[Attack] = []
    paths = [Path(path) for path in (sys.argv[1:] if arguments is None else arguments)]
    for seed in range(REPETITIONS):
        run = load_generator(paths[seed % len(paths)])
        data = load("chest_xray", resolution=run.settings["data"]["resolution"])
        patients = learned_from(run).divide(data).held_out
        attack = audited(generated_split(run, MADE, seed), patients, seed)
        found.append(attack)
        print(f"{run.folder.name[:20]}: {attack.auc:.3f} − {attack.control:.3f} = {attack.difference:+.3f}", flush=True)
    differences = [attack.difference for attack in found]
    mean, margin = mean_and_margin(differences)
    print(
        f"{len(found)} repetitions: AUC less its control {mean:+.3f} ± {margin:.3f} (95%), standard deviation "
        f"{np.std(differences, ddof=1):.3f}; {sum(attack.leaks for attack in found)} called a leak"
    )


if __name__ == "__main__":
    main()
