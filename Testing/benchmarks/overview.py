"""Renders the speed results as one Markdown table: row, measure, ratio with its range, aim, where it was measured.

    python Testing/benchmarks/overview.py [--all]

Without --all, only the figures that have an aim, as docs/speed.md shows them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def lines(result: dict, every: bool) -> list[str]:
    """Returns a table line for each ratio of a result, or for those that have an aim."""
    hardware = result["hardware"]
    load = f", load {hardware['load'][0]}" if "load" in hardware else ""
    where = f"{hardware.get('gpu') or hardware['processor']}, {hardware['cores']} cores{load}"
    return [
        f"| {result['row']} | {result['name']} | {ratio.replace('_', ' ')} | {values['median']:.2f} "
        f"({values['least']:.2f}–{values['most']:.2f}) | {result['aim'].get(ratio, '')} | {where} | "
        f"{result['commit'][:8]} |"
        for ratio, values in result["ratios"].items()
        if every or ratio in result["aim"]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="also figures without an aim")
    given = parser.parse_args()
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    rows = sorted((r for r in results if "row" in r and "ratios" in r), key=lambda r: str(r["row"]))
    print("| row | measure | figure | median (range) | aim | where | commit |\n|---|---|---|---|---|---|---|")
    print(*(line for result in rows for line in lines(result, given.all)), sep="\n")


if __name__ == "__main__":
    main()
