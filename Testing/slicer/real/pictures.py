"""Pictures of the module in a real Slicer, twice as fine as the screen, and the use of the effect as an animation.

    python Testing/slicer/real/pictures.py /path/to/Slicer --output docs/pictures [--workspace FOLDER]

All that is shown is generated. A workspace with a pretraining and a fine-tuning saves the time to make them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path

import run

ANIMATION, STILL = "learn-from-slices.gif", "learn-from-slices.png"
WIDTH, COLORS = 900, 224
"""Of the animation."""
STILL_WIDTH = 1600
LONGEST = 3_000_000
"""Bytes of the animation."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slicer", help="Slicer's executable (its launcher)")
    parser.add_argument("--output", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--workspace", type=Path, help="with runs; one is made where none is named")
    parser.add_argument("--python", default="", help="Python for the jobs, where Slicer's own has no torch")
    parser.add_argument("--minutes", type=float, default=40.0, help="longest time")
    parser.add_argument("--logs", type=Path, help="folder that keeps the log")
    arguments = parser.parse_args()
    os.environ["QT_SCALE_FACTOR"] = "2"
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hssl-pictures-") as folder:
        workspace = Path(folder) / "my scans"
        if arguments.workspace is not None:
            shutil.copytree(arguments.workspace, workspace)
        log, code = run.in_slicer(
            arguments, "pictures", "takePictures.py", folder, str(workspace), arguments.python, screen="3200x2400"
        )
        if code != 0 or run.PYTHON_ERROR.search(log):
            print(log[-4000:])
            return 1
        for path in sorted(Path(folder).glob("panel-*.png")):
            _still(path, arguments.output / path.name.removeprefix("panel-"), STILL_WIDTH)
        frames = sorted(Path(folder).glob("frame-*.png"))
        _still(frames[-1], arguments.output / STILL, STILL_WIDTH)
        _animate(frames, arguments.output / ANIMATION)
    return 0


def _still(source: Path, target: Path, width: int) -> None:
    """Writes a picture with a palette, which halves it, and no wider than this."""
    from PIL import Image

    image = Image.open(source).convert("RGB")
    if image.width > width:
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    image.quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)
    print(target, target.stat().st_size // 1000, "kB", flush=True)


def _animate(frames: list[Path], target: Path) -> None:
    """Joins frames; the name of each ends with the milliseconds that it is shown."""
    from PIL import Image

    images, times = [], []
    for path in frames:
        image = Image.open(path).convert("RGB")
        image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)
        images.append(image)
        times.append(int(path.stem.rsplit("-", 1)[1]))
    # One palette for all, or what stays the same would flicker.
    together = Image.new("RGB", (WIDTH, sum(image.height for image in images)))
    for number, image in enumerate(images):
        together.paste(image, (0, number * image.height))
    palette = together.quantize(COLORS, dither=Image.Dither.NONE)
    images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    images[0].save(target, save_all=True, append_images=images[1:], duration=times, loop=0, optimize=True)
    size = target.stat().st_size
    print(target, size // 1000, "kB", flush=True)
    assert size <= LONGEST, f"{target} is too large"


if __name__ == "__main__":
    raise SystemExit(main())
