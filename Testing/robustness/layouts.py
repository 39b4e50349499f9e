"""Campaign: wherever results are sent, no input changes, and every result belongs to the input that it is named for.

    PYTHONPATH=HSSLSegmentation python Testing/robustness/layouts.py --count 500 --seed 1

Each draw makes a layout (folders of volumes, folders of patients with files of one name, links, hard links, odd names,
DICOM series) and a writer (predict, evaluate, interactive, export, report), and sends its results somewhere: to a new
folder, into the inputs, through links, over files that are there. Whatever the writer answers, checksums of all files
that were there before must be the same (those of inputs always, those of others unless it was told to overwrite); a refusal
must leave nothing behind; every label map must be what the model predicts of the very volume that it is named for; and
a second run must name its results in the same way. A failure prints the command that replays its draw.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
import torch
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from hssl.configuration import EvaluateConfig, NetworkConfig, PredictConfig
from hssl.errors import OutputError
from hssl.imaging.formats import stem_of
from hssl.imaging.volumes import read_volume
from hssl.interactive.worker import InteractiveWorker, LearnCommand, OpenCommand
from hssl.jobs.evaluate import evaluate
from hssl.jobs.predict import predict
from hssl.models.description import ModelDescription
from hssl.models.model_file import export_model, read_description, write_model
from hssl.models.network import build_network
from hssl.outputs import portable
from hssl.preprocessing.fingerprint import Fingerprint
from hssl.reporting.report import write_report
from hssl.workspace.catalogue import Catalogue, LabelClass, Task

NAMES = ("ct", "scan", "Übung 1", "a.b", "image", "p1", "ct_uncertainty", "_", "x" * 90, "(final) v2", "CT", "nul")
SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
CLASSES = [LabelClass(value=1, name="bright"), LabelClass(value=7, name="brighter/than")]


def model(path: Path) -> Path:
    """Writes a model file of a network whose weights are drawn once: it predicts something, quickly."""
    network = NetworkConfig(in_slices=1)
    description = ModelDescription(
        kind="segmentation",
        name="drawn",
        network=network,
        patch_size=(32, 32),
        tasks=[Task(name="t", classes=CLASSES)],
        fingerprints={
            "t": Fingerprint(spacing=(1, 1, 1), slice_axis=0, normalisation="percentiles", median_size=(4, 16, 16))
        },
        out_channels=1 + len(CLASSES),
    )
    torch.manual_seed(0)
    write_model(path, description, build_network(network, description.out_channels).state_dict())
    return path


class Layout:
    """The files of one draw below a root, and what they were when the writer began."""

    def __init__(self, root: Path, draw: random.Random):
        self.root, self.draw = root, draw
        self.volumes: list[Path] = []
        self.series: list[Path] = []
        scans = root / "scans"
        names = draw.sample(NAMES, 3)
        kind = draw.choice(("one folder", "a folder for each patient", "nested", "series"))
        if kind == "one folder":
            folders = [scans] * 3
        elif kind == "a folder for each patient":
            folders, names = [scans / f"p{n}" for n in range(3)], [names[0]] * 3
        elif kind == "nested":
            folders = [scans / "a" / "x", scans / "b" / "x", scans / "a" / "y"]
            names = [names[0], names[0], draw.choice((names[0], names[1]))]
        else:
            folders, names = [scans / f"s{n}" / "dicom" for n in range(2)], []
            for n, folder in enumerate(folders):
                self._write_series(folder, n)
        for n, (folder, name) in enumerate(zip(folders, names, strict=False)):
            path = folder / f"{name}{draw.choice(SUFFIXES)}"
            if not path.exists():
                self._write_volume(path, n)
        self._link()

    def _write_volume(self, path: Path, number: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(volume(number), str(path))
        self.volumes.append(path)

    def _write_series(self, folder: Path, number: int) -> None:
        folder.mkdir(parents=True)
        uid = generate_uid()
        for z, plane in enumerate(sitk.GetArrayFromImage(volume(number))):
            file = pydicom.Dataset()
            file.file_meta = pydicom.dataset.FileMetaDataset()
            file.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
            file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = generate_uid()
            file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            file.SOPClassUID, file.SeriesInstanceUID, file.StudyInstanceUID = pydicom.uid.CTImageStorage, uid, uid
            file.Modality, file.InstanceNumber, file.PatientID = "CT", z + 1, f"p{number}"
            file.Rows, file.Columns = plane.shape
            file.PixelSpacing, file.SliceThickness, file.SpacingBetweenSlices = [1, 1], 1, 1
            file.ImagePositionPatient, file.ImageOrientationPatient = [0, 0, z], [1, 0, 0, 0, 1, 0]
            file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
            file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 1
            file.RescaleIntercept, file.RescaleSlope = 0, 1
            file.PixelData = plane.astype("<i2").tobytes()
            file.save_as(folder / f"{z}.dcm", enforce_file_format=True)
        self.series.append(folder)

    def _link(self) -> None:
        """Adds, by chance, links and hard links to what there is."""
        draw, things = self.draw, [*self.volumes, *self.series]
        (self.root / "links").mkdir()
        for n in range(draw.randrange(3)):
            thing = draw.choice(things)
            link = self.root / "links" / f"{n}{thing.name[len(stem_of(thing)) :] if thing.is_file() else ''}"
            if thing.is_dir() or draw.random() < 0.5:
                os.symlink(thing, link)
            else:
                os.link(thing, link)
            (self.volumes if thing.is_file() else self.series).append(link)

    def inputs(self) -> list[Path]:
        """Draws what is to be predicted: files, folders of files, series, by straight or crooked paths."""
        draw, folders = self.draw, sorted({p.parent for p in self.volumes})
        choice = draw.choice(("files", "folders", "one"))
        if self.series and (not self.volumes or draw.random() < 0.5):
            chosen = draw.sample(self.series, draw.randint(1, len(self.series)))
        elif choice == "files":
            chosen = draw.sample(self.volumes, draw.randint(1, len(self.volumes)))
        elif choice == "folders":
            chosen = draw.sample(folders, draw.randint(1, len(folders)))
        else:
            chosen = [draw.choice(self.volumes)] * draw.randint(1, 2)
        return [self.crooked(p) for p in chosen]

    def crooked(self, path: Path) -> Path:
        """Returns another path to the same thing, by chance."""
        way = self.draw.random()
        if way < 0.6:
            return path
        if way < 0.8:
            return path.parent / ".." / path.parent.name / path.name
        return Path(os.path.relpath(path))

    def place(self) -> Path:
        """Draws a folder to write to: new ones, and each that holds something."""
        draw, there = self.draw, sorted({p.parent for p in [*self.volumes, *self.series]} | set(self.series))
        kind = draw.choice(("new", "new", "deep", "among", "among", "link", "occupied", "file"))
        if kind == "new":
            return self.crooked(self.root / "out")
        if kind == "deep":
            return draw.choice(there) / "results"
        if kind == "among":
            return self.crooked(draw.choice(there))
        if kind == "link":
            link = self.root / "link to somewhere"
            os.symlink(draw.choice([*there, self.root / "elsewhere"]), link)
            (self.root / "elsewhere").mkdir(exist_ok=True)
            return link
        if kind == "file":
            return draw.choice(self.volumes) if self.volumes else self.root / "out"
        occupied = self.root / "occupied"
        occupied.mkdir()
        for name in draw.sample(NAMES, 4):
            path = occupied / f"{name}.nii.gz"
            if draw.random() < 0.3 and self.volumes:
                (os.link if draw.random() < 0.5 else os.symlink)(draw.choice(self.volumes).resolve(), path)
            else:
                path.write_bytes(b"corrected by hand")
        (occupied / "evaluation.json").write_text("{}")
        return occupied


def volume(number: int) -> sitk.Image:
    """Returns a volume that differs from those of other numbers."""
    image = sitk.GetImageFromArray(np.random.default_rng(number).normal(100, 30, (4, 16, 16)).astype(np.int16))
    image.SetOrigin((number, 0, 0))
    return image


def checksums(root: Path) -> dict[str, str]:
    """Returns the hash of every file below the root by its path, and of every link where it leads to."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in [*files, *(f for f in folders if (Path(folder) / f).is_symlink())]:
            path = Path(folder) / name
            if path.is_symlink():
                found[str(path)] = f"-> {os.readlink(path)}"
            if path.is_file():
                found[str(path)] = found.get(str(path), "") + hashlib.sha256(path.read_bytes()).hexdigest()
    return found


# Writers ---------------------------------------------------------------------------------------------------------


@dataclass
class Trial:
    """What one draw does once all files lie ready.

    Attributes:
        work: writes, and returns what is wrong with what it has written.
        inputs: what it reads, which must never change; what else is there may only where `overwrite` says so.
    """

    work: Callable[[], list[str]]
    inputs: list[Path]
    overwrite: bool = False


class Truths:
    """What the model predicts of each volume when it is predicted alone."""

    def __init__(self, file: Path):
        self.model, self._known = file, dict[bytes, bytes]()

    def of(self, source: Path) -> bytes:
        """Returns the voxels and the place of the volume's label map."""
        key = voxels(read_volume(source))
        if key not in self._known:
            with tempfile.TemporaryDirectory() as folder:
                done = predict(PredictConfig(model=self.model, inputs=[source], output=Path(folder) / "alone"))
                self._known[key] = voxels(read_volume(done.result.outputs[0].label_map))
        return self._known[key]


def voxels(image: sitk.Image) -> bytes:
    return sitk.GetArrayFromImage(image).tobytes() + repr(image.GetOrigin()).encode()


def prediction(layout: Layout, truths: Truths) -> Trial:
    draw = layout.draw
    config = PredictConfig(
        model=truths.model,
        inputs=layout.inputs(),
        output=layout.place(),
        uncertainty=draw.random() < 0.3,
        probabilities=draw.random() < 0.2,
        overwrite=draw.random() < 0.3,
    )

    def work() -> list[str]:
        outputs = predict(config).result.outputs
        written = Counter(
            portable(str(file))
            for entry in outputs
            for file in (entry.label_map, entry.uncertainty, *entry.probabilities.values())
            if file is not None
        )
        problems = [f"{name} was written {count} times" for name, count in written.items() if count > 1]
        for entry in outputs:
            if voxels(read_volume(entry.label_map)) != truths.of(entry.input):
                problems.append(f"{entry.label_map} is not the label map of {entry.input}")
        if not outputs:
            problems.append("nothing was written")
        again = predict(config).result.outputs
        if outputs != again:
            problems.append(f"a second run names its results in another way: {outputs} {again}")
        return problems

    return Trial(work, config.inputs, config.overwrite)


def evaluation(layout: Layout, truths: Truths) -> Trial:
    draw = layout.draw
    truth, found = layout.root / "truth", layout.root / "found"
    for folder in (truth, found):
        folder.mkdir()
        for name in NAMES[:5]:
            sitk.WriteImage(sitk.Cast(volume(1) > 100, sitk.sitkUInt8), str(folder / f"{name}.nii.gz"))
    output = draw.choice((layout.place(), layout.crooked(truth), layout.crooked(found)))
    overwrite = draw.random() < 0.3
    config = EvaluateConfig(predictions=found, references=truth, output=output, overwrite=overwrite)

    def work() -> list[str]:
        done = evaluate(config)
        again = evaluate(config)
        there = all(file is not None and file.is_file() for file in (done.result.csv_file, done.result.json_file))
        return [] if there and again.result == done.result else ["a table is missing, or comes out in another way"]

    return Trial(work, [truth, found], overwrite)


def interaction(layout: Layout, truths: Truths) -> Trial:
    draw, root = layout.draw, layout.root
    source, annotation = root / "open.nrrd", root / "annotation.nrrd"
    sitk.WriteImage(volume(0), str(source))
    sitk.WriteImage(sitk.Cast(volume(0) > 100, sitk.sitkUInt8), str(annotation))
    os.symlink(source, root / "open link.nrrd")
    os.link(annotation, root / "annotation hard.nrrd")
    targets = [source, annotation, root / "open link.nrrd", root / "annotation hard.nrrd"]
    targets = [
        *(layout.crooked(p) for p in targets),
        *(root / n for n in ("new.nrrd", "deep/new.nii.gz", "new.mha", "new.nii", "new.png")),
    ]
    overwrite = draw.random() < 0.5
    opening = OpenCommand(id=0, volume=layout.crooked(source))
    learning = LearnCommand(
        id=1,
        annotation=layout.crooked(annotation),
        planes=[(0, 1)],
        label_map=draw.choice(targets),
        uncertainty=draw.choice([None, None, None, *targets]),
        overwrite=overwrite,
    )

    def work() -> list[str]:
        worker = InteractiveWorker()
        worker.do(opening)
        worker.do(learning)
        worker.do(learning)  # a further round goes over the first one's results
        return [] if read_volume(learning.label_map).GetSize() == volume(0).GetSize() else ["it is of another size"]

    return Trial(work, [source, annotation], overwrite)


def export(layout: Layout, truths: Truths) -> Trial:
    draw, root = layout.draw, layout.root
    shutil.copyfile(truths.model, root / "mine.zip")
    os.link(root / "mine.zip", root / "hard.zip")
    os.symlink("mine.zip", root / "link.zip")
    targets = [
        root / name for name in ("mine.zip", "hard.zip", "link.zip", "new.zip", "deep/new.ZIP", "new.nii.gz", "new")
    ]
    source, target = layout.crooked(root / "mine.zip"), layout.crooked(draw.choice([*targets, *layout.volumes]))
    overwrite = draw.random() < 0.5

    def work() -> list[str]:
        export_model(source, target, overwrite=overwrite)
        return [] if read_description(target).name == "drawn" else ["it is another model"]

    return Trial(work, [root / "mine.zip"], overwrite)


def report(layout: Layout, truths: Truths) -> Trial:
    draw, root = layout.draw, layout.root
    Catalogue.create(root / "workspace")
    catalogue = root / "workspace" / "dataset.json"
    os.symlink(catalogue, root / "link.html")
    os.link(catalogue, root / "hard.html")
    targets = [catalogue, *(root / name for name in ("link.html", "hard.html", "new.html", "deep/new.html"))]
    target = layout.crooked(draw.choice([*targets, *layout.volumes]))
    overwrite = draw.random() < 0.5

    def work() -> list[str]:
        write_report(target, "title", root / "workspace", overwrite=overwrite)
        return [] if "<html" in target.read_text(encoding="utf-8") else ["it is no page"]

    return Trial(work, [catalogue], overwrite)


WRITERS: dict[str, Callable[[Layout, Truths], Trial]] = {
    "predict": prediction,
    "evaluate": evaluation,
    "interactive": interaction,
    "export": export,
    "report": report,
}


def run(root: Path, seed: int, truths: Truths, writer: str = "") -> tuple[str, list[str]]:
    """Makes one draw in an empty folder.

    Args:
        writer: one of `WRITERS`; empty draws it, a prediction twice as often as the others.

    Returns:
        What the writer did, and what is wrong.
    """
    draw = random.Random(seed)
    layout = Layout(root, draw)
    drawn = draw.choice([*WRITERS, "predict"])
    trial = WRITERS[writer or drawn](layout, truths)
    before = checksums(root)
    files = [
        f for path in trial.inputs for f in ([path] if path.is_file() else path.rglob("*") if path.is_dir() else [])
    ]
    contents = {f: f.read_bytes() for f in files if f.is_file()}
    problems: list[str] = []
    try:
        problems = trial.work()
        outcome = "written"
    except OutputError as error:
        outcome = "refused"
        if checksums(root) != before:
            problems.append(f"refused ({error}), and yet files came, went or changed")
    problems += [
        f"the input {f} has changed" for f, content in contents.items() if not f.is_file() or f.read_bytes() != content
    ]
    after = checksums(root)
    if not trial.overwrite:
        problems += [f"{name} has changed" for name, content in before.items() if after.get(name) != content]
    leftovers = [name for name in after if Path(name).name.startswith(".writing-")]
    return f"{writer or drawn}: {outcome}", problems + [f"{name} is left half written" for name in leftovers]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500, help="draws")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--only", type=int, default=None, help="only this draw")
    given = parser.parse_args()
    print(f"seed {given.seed}, {given.count} draws", flush=True)
    start, failed, outcomes = time.monotonic(), 0, Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        truths = Truths(model(Path(folder) / "model.zip"))
        for number in range(given.count) if given.only is None else [given.only]:
            root = Path(folder) / "drawn"
            root.mkdir()
            try:
                outcome, problems = run(root, given.seed + number, truths)
            except Exception as error:  # whatever it is: a user would see a traceback
                traceback.print_exc()
                outcome, problems = "crashed", [repr(error)]
            outcomes[outcome] += 1
            for problem in problems:
                print(f"FAILED {problem}\n  replay: {__file__} --seed {given.seed} --only {number}", flush=True)
            failed += bool(problems)
            shutil.rmtree(root)
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:6}  {outcome}")
    print(f"{failed} of {sum(outcomes.values())} draws failed, {time.monotonic() - start:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
