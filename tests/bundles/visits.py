"""A small table of shop visits, as a stranger brings it: texts, missing values, customers who come again, dates."""

from __future__ import annotations

import csv
import random
from copy import deepcopy
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = ("visit", "customer", "day", "age", "basket", "city", "member", "bought")

CONFIG: dict[str, Any] = {
    "name": "shop",
    "version": "1.0.0",
    "data": {"kind": "file", "path": "visits.csv"},
    "row_id": "visit",
    "target": {
        "column": "bought",
        "task": "classification",
        "label_definition": "yes = the visit ended with a purchase",
    },
    "split": {"by": "random", "test_share": 0.25, "seed": 1},
    "preprocessing": [
        {
            "name": "numbers",
            "columns": ["age", "basket"],
            "steps": [
                {"use": "sklearn.impute.SimpleImputer", "params": {"strategy": "median"}},
                {"use": "sklearn.preprocessing.StandardScaler"},
            ],
        },
        {"name": "flags", "dtypes": ["bool"]},
        {
            "name": "places",
            "dtypes": ["string"],
            "steps": [
                {
                    "use": "sklearn.impute.SimpleImputer",
                    "params": {"missing_values": None, "strategy": "constant", "fill_value": "nowhere"},
                },
                {
                    "use": "sklearn.preprocessing.OneHotEncoder",
                    "params": {"handle_unknown": "ignore", "sparse_output": False},
                },
            ],
        },
    ],
    "estimator": {"use": "sklearn.linear_model.LogisticRegression", "params": {"max_iter": 500}},
    "cross_validation": {"folds": 3},
    "gates": {"floors": {"test_metrics.roc_auc": 0.6}, "beat": ["majority"], "data": {"min_rows": 100}},
    "report": {"pictures": False, "bootstrap_resamples": 20, "golden_rows": 5, "error_samples": 4},
    "features": [
        {"name": "age", "dtype": "int", "minimum": 0, "maximum": 120, "nullable": True, "unit": "years"},
        {"name": "basket", "dtype": "float", "minimum": 0, "nullable": True},
        {"name": "city", "dtype": "string", "categories": ["Bern", "Basel", "Zug"], "nullable": True},
        {"name": "member", "dtype": "bool"},
    ],
}


def visits(count: int = 240) -> list[dict[str, Any]]:
    """Draw visits; older members with full baskets buy."""
    draw = random.Random(5)
    rows = []
    for number in range(count):
        age, basket, member = draw.randint(16, 90), round(draw.uniform(0, 200), 2), draw.random() < 0.5
        city = draw.choice(["Bern", "Basel", "Zug"])
        chance = 0.1 + 0.4 * (basket > 90) + 0.25 * member + 0.15 * (city == "Zug")
        rows.append(
            {
                "visit": f"V{number:04d}",
                "customer": f"K{number % 37:02d}",
                "day": (date(2026, 1, 1) + timedelta(days=number // 5)).isoformat(),
                "age": "" if draw.random() < 0.1 else age,
                "basket": "NA" if draw.random() < 0.1 else basket,
                "city": "" if draw.random() < 0.1 else city,
                "member": str(member).lower(),
                "bought": "yes" if draw.random() < chance else "no",
            }
        )
    return rows


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write visits as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def changed(changes: dict[str, Any], start: dict[str, Any] | None = None) -> dict[str, Any]:
    """Copy the configuration with some keys replaced, nested ones by their dotted path."""
    config = deepcopy(CONFIG if start is None else start)
    for path, value in changes.items():
        *parents, last = path.split(".")
        place: Any = config
        for key in parents:
            place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
        place[last] = value
    return config


def write_config(folder: Path, changes: dict[str, Any] | None = None, rows: list[dict[str, Any]] | None = None) -> Path:
    """Write the table and its configuration into a folder.

    Returns:
        The YAML file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "visits.csv", rows or visits())
    path = folder / "shop.yaml"
    path.write_text(yaml.safe_dump(changed(changes or {})), encoding="utf-8")
    return path
