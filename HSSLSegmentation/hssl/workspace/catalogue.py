"""The catalogue of a workspace: tasks, groups of tasks, and images with an optional label each, in `dataset.json`."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from ..errors import ConfigurationError, LockedError, OutputError, WorkspaceError
from ..files import check_name, read_json, remove_unfinished, sha256_of, whole_file
from ..imaging.structures import LARGEST_VALUE
from ..locks import FolderLock
from ..outputs import check_folder
from .presence import FILE_NAME, require_still_there, require_there, while_there

SCHEMA = 1


class _Record(BaseModel):
    # Fields that a newer version or another program added survive a round trip.
    model_config = ConfigDict(extra="allow", validate_assignment=True, allow_inf_nan=False)


class LabelClass(_Record):
    """A class of a task: its value in label maps, its name, and how it is shown.

    `terminology` is Slicer's serialised form (context~category~type~…); `color` is RGB in 0…1.
    """

    value: int = Field(ge=1, le=LARGEST_VALUE)
    name: str = Field(min_length=1)
    color: tuple[float, float, float] | None = None
    terminology: str | None = None


class Task(_Record):
    """One thing to segment in one kind of image (paper, section 2: a dataset is a task)."""

    name: str = Field(min_length=1)
    modality: str = "unknown"
    """"CT" is normalised by a Hounsfield window; everything else by robust percentiles."""
    anatomy: str = ""
    group: str = ""
    """Name of the group; empty: a group of its own."""
    classes: list[LabelClass] = []
    formerly: list[str] = []
    """Names that it had before: its runs and models still say them."""
    ignore_value: int | None = Field(default=None, ge=1)
    """Value of voxels that nobody labelled (nnU-Net's `ignore`): left out of losses and measures, and no class."""

    nan_is_background: bool = False
    """Voxels that are NaN are background, as maps have them outside the body; else an image with NaN is refused."""

    @property
    def group_or_own(self) -> str:
        """The name of its group; a task without one is a group of its own."""
        return self.group or self.name

    @model_validator(mode="after")
    def _classes_differ(self) -> Self:
        # Files and people write names in small letters or not: "Lesion" and "lesion" are one.
        values, names = [c.value for c in self.classes], [c.name for c in self.classes]
        for what, seen, keys in (("value", values, values), ("name", names, [n.strip().casefold() for n in names])):
            if len(set(keys)) != len(seen):
                raise ValueError(f"task {self.name}: two classes have the same {what}: {seen}")
        if any(c.value == self.ignore_value for c in self.classes):
            raise ValueError(f"task {self.name}: value {self.ignore_value} is a class, and the one to be ignored")
        return self


class Group(_Record):
    """Tasks that share content and modality (paper, section 2)."""

    name: str = Field(min_length=1)
    description: str = ""


class LabelPart(_Record):
    """One of several files that are joined into the label of an image."""

    path: str
    structure: str = ""
    """Name of the class whose mask it is; "": it names its structures itself."""


class Image(_Record):
    """One volume. Paths are relative to the workspace where they can be, with forward slashes.

    `size`, `spacing` (mm), `origin` (mm, LPS) and `direction` (row-major 3×3) are SimpleITK's, in x, y, z order.
    """

    id: str = Field(min_length=1)
    task: str
    image: str
    """A file, or the folder of a DICOM series."""
    label: str | None = None
    """A label map, a segmentation or structure set that names its segments, or a folder of masks; of `parts` the first."""
    parts: list[LabelPart] = []
    """Files that are joined into the label; empty: `label` alone is it."""
    structures: list[str] = []
    """Segments to take of a label that names them, the last has the voxel where they overlap; empty: all of them."""
    series: str | None = None
    """Series instance UID, when `image` is a folder."""
    frame: int | None = None
    """Chosen frame of a 4D file."""
    patient: str = ""
    """Whose image it is: images of one patient stay on one side of every split. Empty: a patient of its own."""
    review: str = ""
    """What a person said of it, or that it has a draft: see `hssl.workspace.review.Review`."""
    remark: str = ""
    """In that person's own words."""
    modality: str = ""
    size: tuple[int, int, int] | None = None
    spacing: tuple[float, float, float] | None = None
    origin: tuple[float, float, float] | None = None
    direction: tuple[float, ...] | None = None
    content: str = ""
    """Identity of the bytes: tells the same image twice, and a file that changed."""
    voxels: str = ""
    """Identities of the voxels, with spaces: each tells the same image in another format."""
    problem: str | None = None
    """Why the image cannot be used; None: it can."""
    doubt: str | None = None
    """Why it is probably no image (such as "looks like a mask of case1"); it is not used until it is confirmed."""
    confirmed: bool = False
    """The user says that it is an image, whatever its content looks like."""
    label_problem: str | None = None
    """Why the label cannot be used (the image still can)."""
    label_values: list[int] | None = None
    """Values above 0 in the label map; None: not read yet."""
    stamp: str = ""
    """Size and modification time of the image's file when `content` and the geometry were read from it."""
    label_stamp: str = ""
    """The same of the label's file."""
    checked: str = ""
    """Both stamps when the voxels were last read; "": never."""


class Refused(_Record):
    """A file that a scan did not take, and why."""

    path: str
    task: str = ""
    reason: str
    copy_of: str = ""
    """Id of the image that the task has already of it."""
    stamp: str = ""
    """As `Image.stamp`: a file that has not changed is not looked at again."""
    choice: str = ""
    """The frame and spacing that were asked for when it was looked at."""


class _Document(_Record):
    schema_version: int = Field(alias="schema", default=SCHEMA)
    name: str = ""
    groups: list[Group] = []
    tasks: list[Task] = []
    images: list[Image] = []
    refused: list[Refused] = []


_JSON = TypeAdapter(_Document)
"""Gives bytes: as text, thousands of images would be in memory twice while they are written."""


class Catalogue:
    """Reads, edits and writes a workspace's `dataset.json`; every edit keeps it valid or raises and changes nothing.

    Args:
        workspace: the folder. Use `create` for a new one and `load` for an existing one.

    Example:
        >>> from hssl import Catalogue
        >>> catalogue = Catalogue.load(workspace)
        >>> len(catalogue.usable("brain_mr")), len(catalogue.usable("brain_mr", labelled=True))
        (5, 3)
    """

    def __init__(self, workspace: Path, document: _Document):
        self.workspace = workspace
        self._document = document

    @classmethod
    def create(cls, workspace: str | Path, name: str = "") -> Catalogue:
        """Makes the folder with an empty catalogue.

        Raises:
            WorkspaceError: there is a catalogue already.
            OutputError: the folder cannot be written to, or is a file.
        """
        workspace = Path(workspace).expanduser().absolute()
        if (workspace / FILE_NAME).exists():
            raise WorkspaceError(workspace, f"has a {FILE_NAME} already", "Open it instead of creating it.")
        check_folder(workspace)
        try:
            workspace.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(workspace, f"cannot be written: {error.strerror or error}") from error
        catalogue = cls(workspace, _Document(name=name or workspace.name))
        catalogue.save()
        return catalogue

    @classmethod
    def load(cls, workspace: str | Path) -> Catalogue:
        """Reads the catalogue.

        Raises:
            WorkspaceError: the folder has none, or it is damaged or of a newer schema; the message says where.
        """
        workspace = Path(workspace).expanduser().absolute()
        path = workspace / FILE_NAME
        require_there(workspace)
        check_name(workspace, WorkspaceError)
        values = read_json(path)
        schema = values.get("schema") if isinstance(values, dict) else None
        if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
            raise WorkspaceError(path, f"is not a catalogue: schema is {schema!r}")
        if schema > SCHEMA:
            raise WorkspaceError(path, f"has schema {schema}, this version reads up to {SCHEMA}", "Update HSSL.")
        try:
            catalogue = cls(workspace, _Document.model_validate(values))
            catalogue._check_references()
        except ValidationError as error:
            first = error.errors()[0]
            raise WorkspaceError(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        except ConfigurationError as error:
            raise WorkspaceError(path, str(error)) from error
        return catalogue

    @classmethod
    @contextmanager
    def editing(cls, workspace: str | Path, wait: float = 10.0) -> Iterator[Catalogue]:
        """Yields the catalogue as it is now on disk, and saves it at the end; two processes edit one after the other.

        Nothing is saved when the block raises. Long work belongs before the block, only its result inside.

        Args:
            workspace: the folder.
            wait: how long to wait for another process's edit, in seconds.

        Raises:
            WorkspaceError: as `load`.
            LockedError: another process has been editing all the while.
        """
        workspace = Path(workspace).expanduser().absolute()
        require_there(workspace)  # no lock file is left in a folder that is none of ours
        deadline = time.monotonic() + wait
        lock = FolderLock(workspace, "this workspace's catalogue")
        while True:
            try:
                lock.__enter__()
                break
            except LockedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        with ExitStack() as held:
            held.enter_context(while_there(workspace))
            held.push(lock)
            remove_unfinished(workspace, FILE_NAME)
            catalogue = cls.load(workspace)
            yield catalogue
            require_still_there(workspace)
            catalogue.save()

    def save(self) -> None:
        """Writes `dataset.json`, whole or not at all.

        Raises:
            ConfigurationError: two tasks, groups or images have one name, or a name is of nothing.
            OutputError: it cannot be written; also text that is not Unicode, such as a file name in another encoding.
        """
        self._check_references()
        path = self.workspace / FILE_NAME
        try:
            content = _JSON.dump_json(self._document, by_alias=True, indent=1)
        except ValueError as error:
            raise OutputError(path, f"cannot be written: {error}") from error
        with whole_file(path) as temporary, open(temporary, "wb") as file:
            file.write(content)
            file.write(b"\n")

    # What it holds ---------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self._document.name

    @property
    def groups(self) -> list[Group]:
        return self._document.groups

    @property
    def tasks(self) -> list[Task]:
        return self._document.tasks

    @property
    def images(self) -> list[Image]:
        return self._document.images

    @property
    def refused(self) -> list[Refused]:
        return self._document.refused

    def task(self, name: str) -> Task:
        """Returns the task of that name.

        Raises:
            ConfigurationError: there is none; the message lists those there are.
        """
        for task in self.tasks:
            if task.name == name:
                return task
        for task in self.tasks:
            if name in task.formerly:
                return task
        known = ", ".join(t.name for t in self.tasks) or "none"
        raise ConfigurationError(f"no task named {name!r} in {self.workspace} (there: {known})")

    def image(self, id: str) -> Image:
        """Returns the image of that id; raises ConfigurationError when there is none."""
        for image in self.images:
            if image.id == id:
                return image
        raise ConfigurationError(f"no image with id {id!r} in {self.workspace}")

    def require(self, ids: Iterable[str], purpose: str) -> None:
        """Checks that there is an image of each id: one that is mistyped must not be passed over in silence.

        Args:
            ids: as the user gave them.
            purpose: what they are for, such as "to be left out".

        Raises:
            ConfigurationError: some are unknown; the message lists them, with the nearest id of each.
        """
        known = {i.id for i in self.images}
        unknown = sorted(set(ids) - known)
        if unknown:
            near = {id: get_close_matches(id, known, 1) for id in unknown[:5]}
            listed = ", ".join(f"{id!r}" + (f" (there is {near[id][0]!r})" if near[id] else "") for id in near)
            more = f" and {len(unknown) - len(near)} more" if len(unknown) > len(near) else ""
            raise ConfigurationError(f"no image {purpose} with id {listed}{more} in {self.workspace}")

    def usable(self, task: str | None = None, labelled: bool | None = None) -> list[Image]:
        """Returns the images without a problem that are surely images, in the catalogue's order.

        Args:
            task: only this task's, by its name or a former one.
            labelled: True: only those with a usable label; False: only those without; None: both.
        """
        if task is not None and any(task in t.formerly for t in self.tasks):
            task = self.task(task).name
        return [
            image
            for image in self.images
            if image.problem is None
            and (image.doubt is None or image.confirmed)
            and (task is None or image.task == task)
            and (labelled is None or labelled == (image.label is not None and image.label_problem is None))
        ]

    def group_of(self, task: str) -> str:
        """Returns the name of the task's group; a task without one is a group of its own."""
        return self.task(task).group_or_own

    def image_path(self, image: Image) -> Path:
        """Returns the absolute path of the image's file or series folder."""
        return self.absolute(image.image)

    def label_path(self, image: Image) -> Path | None:
        """Returns the absolute path of the label (of several files the first), or None."""
        return None if image.label is None else self.absolute(image.label)

    def label_files(self, image: Image) -> list[Path]:
        """Returns the absolute paths of what the label is read from: a file, a folder of masks, or several files."""
        paths = [part.path for part in image.parts] or ([] if image.label is None else [image.label])
        return [self.absolute(path) for path in paths]

    def absolute(self, path: str) -> Path:
        """Returns the absolute form of a path as the catalogue writes it."""
        return Path(os.path.normpath(self.workspace / path))

    def relative(self, path: str | Path) -> str:
        """Returns the form in which the catalogue writes a path: relative to the workspace where that is possible."""
        path = Path(path).expanduser().absolute()
        try:
            return Path(os.path.relpath(path, self.workspace)).as_posix()
        except ValueError:  # another drive on Windows
            return path.as_posix()

    def content_hash(self) -> str:
        """Returns a hash over tasks, groups and images (which, with which label), for provenance."""
        return sha256_of(
            [
                [t.model_dump(mode="json") for t in self.tasks],
                sorted(
                    [i.id, i.task, i.content, i.label or "", i.structures, *(p.path for p in i.parts)]
                    for i in self.usable()
                ),
            ]
        )

    def labels_hash(self, task: str) -> str:
        """Returns a hash over the labels of a task, which changes when one is corrected, added or taken away."""
        return sha256_of(
            sorted(
                [i.id, i.label or "", *i.structures, *(p.path for p in i.parts), i.label_stamp]
                for i in self.usable(task, labelled=True)
            )
        )

    # Edits -----------------------------------------------------------------------------------------------------

    def set_task(self, task: Task) -> None:
        """Adds the task, or replaces the one of that name; its group is added when it is new."""
        if task.group and task.group not in [g.name for g in self.groups]:
            self.groups.append(Group(name=task.group))
        self._document.tasks = _replaced(self.tasks, task)

    def rename_task(self, old: str, new: str) -> None:
        """Renames a task, in its images too."""
        if not new:
            raise ConfigurationError("a task needs a name")
        if any(t.name == new for t in self.tasks):
            raise ConfigurationError(f"there is a task named {new!r} already")
        task = self.task(old)
        task.formerly = [*(n for n in task.formerly if n != new), old]
        task.name = new
        for image in self.images:
            if image.task == old:
                image.task = new

    def remove_task(self, name: str) -> None:
        """Removes a task and its images from the catalogue; no file of the user's is touched."""
        self.task(name)
        self._document.tasks = [t for t in self.tasks if t.name != name]
        self._document.images = [i for i in self.images if i.task != name]

    def set_group(self, task: str, group: str) -> None:
        """Puts a task into a group, which is added when it is new; "" makes the task a group of its own."""
        self.set_task(self.task(task).model_copy(update={"group": group}))
        used = {t.group for t in self.tasks}
        self._document.groups = [g for g in self.groups if g.name in used]

    def confirm_images(self, ids: list[str], confirmed: bool = True) -> None:
        """Says that these are images although their content looks like a mask's, or takes that back.

        Raises:
            ConfigurationError: an id is unknown; nothing was changed.
        """
        for image in [self.image(id) for id in ids]:
            image.confirmed = confirmed

    def set_patient(self, ids: list[str], patient: str) -> None:
        """Says whose images these are; "" makes each a patient of its own.

        Raises:
            ConfigurationError: an id is unknown; nothing was changed.
        """
        for image in [self.image(id) for id in ids]:
            image.patient = patient

    def patient_of(self, image: Image) -> str:
        """Returns whose image it is; an image without a patient is one of its own."""
        return image.patient or image.id

    def with_patients(self, ids: Iterable[str]) -> set[str]:
        """Returns the ids and those of all images of the same patients (of the same task): what a split keeps together.

        Raises:
            ConfigurationError: an id is unknown.
        """
        named = [self.image(id) for id in ids]
        whose = {(image.task, image.patient) for image in named if image.patient}
        return {*(i.id for i in named), *(i.id for i in self.images if (i.task, i.patient) in whose)}

    def add_images(self, images: list[Image]) -> None:
        """Adds many images at once.

        Raises:
            ConfigurationError: an id is taken or a task is unknown; nothing was added.
        """
        ids = {i.id for i in self.images}
        tasks = {t.name for t in self.tasks}
        for image in images:
            if image.id in ids:
                raise ConfigurationError(f"there is an image with id {image.id!r} already")
            if image.task not in tasks:
                raise ConfigurationError(f"image {image.id!r}: no task named {image.task!r}")
            ids.add(image.id)
        self.images.extend(images)

    def remove_images(self, ids: list[str]) -> None:
        """Takes images out of the catalogue; no file of the user's is touched."""
        gone, there = set(ids), {i.id for i in self.images}
        for id in ids:
            if id not in there:
                self.image(id)
        self._document.images = [i for i in self.images if i.id not in gone]

    def set_refused(self, refused: list[Refused]) -> None:
        """Replaces the list of what scans did not take."""
        self._document.refused = refused

    def _check_references(self) -> None:
        for what, names in (
            ("tasks", [t.name for t in self.tasks]),
            ("groups", [g.name for g in self.groups]),
            ("images", [i.id for i in self.images]),
        ):
            twice = [n for n, count in Counter(names).items() if count > 1]
            if twice:
                raise ConfigurationError(f"two {what} have the same name: {', '.join(sorted(twice))}")
        tasks, groups = {t.name for t in self.tasks}, {g.name for g in self.groups}
        for image in self.images:
            if image.task not in tasks:
                raise ConfigurationError(f"image {image.id!r} belongs to the unknown task {image.task!r}")
        for task in self.tasks:
            if task.group and task.group not in groups:
                raise ConfigurationError(f"task {task.name!r} belongs to the unknown group {task.group!r}")


def _replaced(tasks: list[Task], task: Task) -> list[Task]:
    kept = [task if t.name == task.name else t for t in tasks]
    return kept if any(t is task for t in kept) else [*tasks, task]
