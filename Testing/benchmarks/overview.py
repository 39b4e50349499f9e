"""Renders the speed results as one Markdown table: row, measure, ratio with its range, aim, where it was measured.

    python Testing/benchmarks/overview.py
"""

from __future__ import annotations

import json
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def lines(result: dict) -> list[str]:
    """Returns a table line for each ratio of a result."""
    hardware = result["hardware"]
    load = f", load {hardware['load'][0]}" if "load" in hardware else ""
    where = f"{hardware.get('gpu') or hardware['processor']}, {hardware['cores']} cores{load}"
    return [
        f"| {result['row']} | {result['name']} | {ratio.replace('_', ' ')} | {values['median']:.2f} "
        f"({values['least']:.2f}–{values['most']:.2f}) | {result['aim'].get(ratio, '')} | {where} | "
        f"{result['commit'][:8]} |"
        for ratio, values in result["ratios"].items()
    ]


def main() -> None:
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    print("| row | measure | figure | median (range) | aim | where | commit |\n|---|---|---|---|---|---|---|")
    for result in sorted((r for r in results if "row" in r and "ratios" in r), key=lambda r: str(r["row"])):
        print("\n".join(lines(result)))


if __name__ == "__main__":
    main()
