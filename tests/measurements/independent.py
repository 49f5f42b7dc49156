"""The main table of the study, recomputed from its records with numpy and scipy alone: nothing of the project is imported.

    python tests/measurements/independent.py [FOLDER] [--json]

It follows RULES.md, sections 9 and 10, in the plain formulas of a two-way analysis of variance. Where a run collapsed or the
seed variances differ, verdicts have other rules: such a table is refused.
tests/measurements/test_independent.py compares it to the report.
"""

import base64
import json
import sys
from pathlib import Path

import numpy as np
from scipy import optimize, stats

REFERENCE, TOKENS, MARGIN, ALPHA, POWER, COLLAPSE = "houlsby", 1_000_000, 0.005, 0.05, 0.8, 0.001
SCORES = ("accuracy", "precision", "recall", "f1")


def read(folder: Path) -> tuple[np.ndarray, list[int], dict[str, np.ndarray]]:
    """Labels [texts], seeds, and the predictions [seeds, texts] of every method, the reference first."""
    found: dict[str, dict[int, np.ndarray]] = {REFERENCE: {}}
    truth = None
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        spec = record["spec"] if record["kind"] == "run" else {}
        if spec.get("purpose") != "run" or spec["reference_tokens"] != TOKENS:
            continue
        assert record["state"] == "complete", f"{path.name} is not complete"
        assert spec["seed"] not in found.setdefault(spec["method"], {}), f"{path.name} is the second of its method and seed"
        packed = [np.frombuffer(base64.b64decode(record["test"][name]), dtype=np.uint8) for name in ("predictions", "correct")]
        predicted, correct = (np.unpackbits(one, count=record["test"]["reviews"]).astype(bool) for one in packed)
        labels, share = predicted == correct, max((predicted == correct).mean(), (predicted != correct).mean())
        truth = labels if truth is None else truth
        assert np.array_equal(labels, truth), f"{path.name} has another test"
        assert stats.binomtest(correct.sum(), len(correct), share, "greater").pvalue <= COLLAPSE, f"{path.name} collapsed"
        found[spec["method"]][spec["seed"]] = predicted
    seeds = sorted(found[REFERENCE])
    assert all(seeds and sorted(own) == seeds for own in found.values()), f"{folder}: not the same seeds for all methods"
    return truth, seeds, {method: np.stack([own[seed] for seed in seeds]) for method, own in found.items()}


def scores(labels: np.ndarray, predicted: np.ndarray) -> dict:
    """Means over seeds of the scores of predictions [seeds, texts]."""
    tp, positive = (predicted & labels).sum(axis=1), predicted.sum(axis=1)
    precision, recall, accuracy = tp / positive, tp / labels.sum(), (predicted == labels).mean(axis=1)
    values = (accuracy, precision, recall, 2 * precision * recall / (precision + recall))
    return {name: float(value.mean()) for name, value in zip(SCORES, values, strict=True)}


def variances(differences: np.ndarray) -> tuple[float, float]:
    """V of the seed effects and B of the mean over texts, from differences [seeds, texts]."""
    seeds, texts = differences.shape
    by_seed, by_text = differences.mean(axis=1), differences.mean(axis=0)
    rest = differences - by_seed[:, None] - by_text + differences.mean()
    return by_seed.var(ddof=1) - (rest**2).sum() / ((seeds - 1) * (texts - 1)) / texts, by_text.var(ddof=1) / texts


def holm(p: list[float]) -> list[float]:
    """Adjusted p: each is the largest of the steps up to its own."""
    return [min(1.0, max(q * sum(other >= q for other in p) for q in p if q <= own)) for own in p]


def permutation(means: np.ndarray, text_variance: float) -> float:
    """The larger of the exact p over all sign flips of the seeds' means and that with the error of the texts added."""
    signs = np.stack(np.meshgrid(*[[-1, 1]] * len(means)), axis=-1).reshape(-1, len(means))
    flipped, observed, error = (signs * means).mean(axis=1), abs(means.mean()), np.sqrt(text_variance)
    beyond = stats.norm.sf(observed, flipped, error) + stats.norm.cdf(-observed, flipped, error)
    return float(max((np.abs(flipped) >= observed - 1e-12).mean(), beyond.mean()))


def paired(d: np.ndarray, pooled: float, freedom: int) -> dict:
    """Compare by differences [seeds, texts] and the variance of a seed's effect with its degrees of freedom."""
    b, mean = variances(d)[1], float(d.mean())
    error = float(np.sqrt(max(pooled, 0.0) / len(d) + b))
    t, alone = stats.t(freedom, scale=error), [(int((row > 0).sum()), int((row < 0).sum())) for row in d]
    found = {"difference": mean, "standard_error": error, "freedom": freedom, "text_variance": b, "p": 2 * t.sf(abs(mean))}
    found |= {"low": mean + t.ppf(ALPHA / 2), "high": mean + t.ppf(1 - ALPHA / 2)}
    found |= {"tost": max(t.sf(mean + MARGIN), t.cdf(mean - MARGIN)), "permutation_p": permutation(d.mean(axis=1), b)}
    return found | {"mcnemar": [(*both, stats.binomtest(both[0], sum(both)).pvalue) for both in alone]}


def table(folder: Path) -> dict:
    labels, seeds, predicted = read(folder)
    right = {method: (own == labels).astype(float) for method, own in predicted.items()}
    rows, names, count = {method: scores(labels, own) for method, own in predicted.items()}, list(right), len(seeds)
    bartlett = stats.bartlett(*[own.mean(axis=1) for own in right.values()]).pvalue
    assert bartlett > ALPHA, "the methods do not share one seed variance"
    pooled = np.mean([variances(right[one] - right[other])[0] for i, one in enumerate(names) for other in names[:i]])
    freedom = (len(names) - 1) * (count - 1)
    pairs = [paired(right[method] - right[REFERENCE], pooled, freedom) for method in names[1:]]
    for to, of in (("p_holm", "p"), ("p_equivalence", "tost"), ("permutation_p_holm", "permutation_p")):
        for found, value in zip(pairs, holm([found[of] for found in pairs]), strict=True):
            found[to] = value
    for method, found in zip(names[1:], pairs, strict=True):
        word, few = "better" if found["difference"] > 0 else "worse", 2 / 2**count > ALPHA / len(pairs)
        within = "equivalent" if found["p_equivalence"] <= ALPHA else "not resolved"
        resolved = word if found["permutation_p_holm"] <= ALPHA else "not resolved"
        found["verdict"] = word if found["p_holm"] <= ALPHA else within
        rows[method]["paired"] = found | {"unconditional": "too few seeds" if few else resolved}
    critical, texts = stats.t.isf(ALPHA / len(pairs) / 2, freedom), np.mean([found["text_variance"] for found in pairs])
    needed = optimize.brentq(lambda shift: stats.nct.sf(critical, freedom, shift) - POWER, 0.1, 50)
    found = {"seeds": seeds, "seed_variance_p": bartlett, "methods": rows}
    return found | {"minimum_detectable_difference": needed * np.sqrt(max(pooled, 0.0) / count + texts)}


if __name__ == "__main__":
    given = [word for word in sys.argv[1:] if word != "--json"]
    result = table(Path(given[0] if given else "results/study-main"))
    if "--json" in sys.argv:
        sys.exit(print(json.dumps(result)))
    print("percent   ", *(f"{name:>9}" for name in SCORES), " Δ points [95 %], p and TOST by Holm, verdict (permutation)")
    for name, row in result["methods"].items():
        print(f"{name:10}", *(f"{100 * row[score]:9.3f}" for score in SCORES), end="  " if "paired" in row else "\n")
        if pair := row.get("paired"):
            print("{:+.3f} [{:+.3f}, {:+.3f}]".format(*(100 * pair[key] for key in ("difference", "low", "high"))), end=" ")
            print("{p_holm:.2g} {p_equivalence:.2g} {verdict} ({unconditional}, {permutation_p_holm:.3f})".format(**pair))
    print(f"minimum detectable difference: {100 * result['minimum_detectable_difference']:.3f} points")
