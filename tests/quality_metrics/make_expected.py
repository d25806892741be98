"""Writes `expected.json`: what PyTupli 1.2.9 itself says of the samples. By hand, with torch::

    pip install pytupli==1.2.9 torch && python -m tests.quality_metrics.make_expected

Nothing of PyTupli is changed: it gets the samples as the lists it reads. Its Q-function starts from
the weights, and draws the batches, that torch's generator gives for seed 0.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from tests.quality_metrics.samples import GRID, POLE, sample

EXPECTED = Path(__file__).parent / "expected.json"
ENTROPIES: dict[str, tuple[str, dict[str, Any]]] = {
    "pole": ("pole", {"rep_dim": 4}),
    "arm": ("arm", {"rep_dim": 8, "num_knn": 5}),
    "alpha 0.2": ("pole", {"rep_dim": 4, "alpha": 0.2}),
    "alpha 1": ("pole", {"rep_dim": 4, "alpha": 1.0}),
    "alpha 5": ("pole", {"rep_dim": 4, "alpha": 5.0}),
    "as far as they are": ("pole", {"rep_dim": 4, "use_mean_normalization": False}),
    "clipped": ("pole", {"rep_dim": 4, "knn_clip": 0.4}),
    "not clipped": ("pole", {"rep_dim": 4, "knn_clip": -1.0}),
    "averaged": ("pole", {"rep_dim": 4, "use_knn_avg": True}),
    "the furthest": ("pole", {"rep_dim": 4, "num_knn": 500}),
    "equal points": ("grid", {"rep_dim": 2, "num_knn": 20}),
}
FIT: dict[str, Any] = {"gamma": 0.9, "lr": 1e-3, "batch_size": 32, "iterations": 150}
SIZES = {"in_dim": 4, "out_dim": 2, "hidden": (16,)}


def main() -> None:
    import torch
    from pytupli import quality_metrics as theirs

    def leaning(states: Any) -> Any:
        right = torch.sigmoid(states[:, :1])
        return torch.cat([1 - right, right], dim=1)

    grid, pole, other = sample("grid"), sample("pole"), sample("grid", seed=1, lengths=[200, 100])
    reference = np.array(other.observations), np.array(other.actions)
    warnings.simplefilter("ignore")
    found: dict[str, float] = {}
    for name, estimated in (("counted", False), ("estimated", True)):
        for where, data in ((GRID, grid), (POLE, pole)):
            key = f"saco {name} {'grid' if where is GRID else 'pole'}"
            found[key] = theirs.SACoMetric(where, use_hyperloglog=estimated).evaluate(data)
        found[f"saco {name} of a reference"] = theirs.SACoMetric(
            GRID, *reference, use_hyperloglog=estimated
        ).evaluate(grid)
    for gamma in (0.99, 1.0, 0.5):
        found[f"average {gamma}"] = theirs.AverageReturnMetric(gamma).evaluate(pole)
        improvement = theirs.EstimatedReturnImprovementMetric
        found[f"improvement {gamma}"] = improvement(gamma).evaluate(pole)
        found[f"improvement {gamma} over -50"] = improvement(gamma, -50.0).evaluate(pole)
    found["average in a range"] = theirs.AverageReturnMetric(0.9, (-5.0, 20.0)).evaluate(pole)
    for key, (name, words) in ENTROPIES.items():
        metric = theirs.GeneralizedBehavioralEntropyMetric(**words)
        found[f"entropy {key}"] = metric.evaluate(sample(name))
    for key, policy in (("FQI", None), ("FQE", leaning)):
        torch.manual_seed(0)
        q = theirs.QFunctionMetric(POLE, theirs.MLP, SIZES, evaluation_policy=policy, **FIT)
        torch.manual_seed(0)
        found[key] = q.evaluate(pole)
    EXPECTED.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
