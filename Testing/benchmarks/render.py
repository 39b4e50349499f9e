"""Tables and plots of the evidence, for docs/results.md, from the JSON files that the benchmarks wrote.

    python Testing/benchmarks/render.py --out FOLDER [--preset cpu] [--results DIR]

Writes `evidence-<preset>.md` and a picture for each experiment that has one. What was not measured is left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.charts import CHARTS
from experiments.presets import PRESETS
from experiments.tables import SECTIONS, circumstances

from hssl.files import read_json, whole_file, write_text

HERE = Path(__file__).parent
OWN = ("interactive", "labelling", "wrong-labels")
"""Sections that a script of their own measures."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables and plots")
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of the JSON files")
    given = parser.parse_args()
    parts = []
    for name, (title, text_of) in SECTIONS.items():
        file = f"{name}-{given.preset}" if name in OWN else f"evidence-{name}-{given.preset}"
        path = given.results / f"{file}.json"
        if not path.exists():
            continue
        result = read_json(path)
        parts.append(f"## {title}\n\n{text_of(result['figures'])}\n\n{circumstances(result)}\n")
        if name in CHARTS:
            with whole_file(given.out / f"{file}.png") as temporary:
                CHARTS[name](result["figures"]).savefig(
                    temporary, format="png", dpi=160, facecolor="white", bbox_inches="tight"
                )
            parts.append(f"![{title}]({file}.png)\n")
    if not parts:
        parser.error(f"{given.results} has no results of the preset {given.preset}")
    write_text(given.out / f"evidence-{given.preset}.md", "\n".join(parts))
    print(given.out / f"evidence-{given.preset}.md")


if __name__ == "__main__":
    main()
