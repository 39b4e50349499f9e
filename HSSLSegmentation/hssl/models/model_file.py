"""The model file: one zip of weights, description and checksums, written whole and read without trusting it.

Inside lies one folder, named after the model, that is a MONAI bundle (see `bundle`):

    LICENSE
    SHA256SUMS                  of all other members; `sha256sum -c` reads it
    configs/hssl.json           the ModelDescription
    configs/inference.json      the network, for MONAI
    configs/metadata.json       the bundle's metadata, for MONAI
    docs/README.md
    models/model.safetensors    the weights

Reading never executes, unpacks or interprets anything but `configs/hssl.json` and the weights. Members are stored
without compression, so a file's size bounds what reading it can take; weights are only read once their names, types
and shapes are known to be those of the network that the description builds.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from pydantic import ValidationError

from ..errors import HSSLError, InputError, ModelFileError, OutputError
from ..files import read_json, remove_unfinished, sha256, whole_file
from ..names import safe_name
from ..outputs import check_outputs
from ..plural import counted
from ..results import Result
from ..workspace.presence import require_there
from . import bundle
from .description import MODEL_SCHEMA, ModelDescription
from .model import Model
from .run_folder import BEST, CONFIG, LAST, RESULT, RunFolder

if TYPE_CHECKING:
    import torch

DESCRIPTION = "configs/hssl.json"
INFERENCE = "configs/inference.json"
METADATA = "configs/metadata.json"
WEIGHTS = "models/model.safetensors"
CHECKSUMS = "SHA256SUMS"
MEMBERS = ("LICENSE", CHECKSUMS, DESCRIPTION, INFERENCE, METADATA, "docs/README.md", WEIGHTS)

TEXT_LIMIT = 4 * 2**20
"""Bytes that any member but the weights may have."""
WEIGHTS_LIMIT = 2 * 2**30
"""Bytes that the weights may have; the largest network here is far smaller."""
PATCH_LIMIT = 2**27
"""Voxels that a patch may have (512 cubed)."""

_END_RECORD = struct.Struct("<4s4H2LH")
_ZIP64_LOCATOR_SIZE = 20
_MOMENT = (1980, 1, 1, 0, 0, 0)
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_DTYPES = {"float32": "F32", "float16": "F16", "int64": "I64"}
"""What safetensors calls the types that networks here have."""
_HALF = {"F32": "F16"}
"""What a type may be stored as, at half the bytes; it is read as the network's own type."""


# Writing ---------------------------------------------------------------------------------------------------------


def write_model(
    path: str | Path, description: ModelDescription, state: dict[str, torch.Tensor], half: bool = False
) -> None:
    """Writes a model file, whole or not at all; the same arguments give the same bytes.

    Args:
        path: the file to write.
        description: travels with the weights. Fields that another program added to its tasks are left out.
        state: state dict of the network that the description builds.
        half: store weights as float16, at half the size and with three digits; they are read as float32 again.

    Raises:
        ModelFileError: the weights do not belong to that network or are not finite (as float16), or the description is one that
            `read_model` would refuse.
        OutputError: the file cannot be written.
    """
    import safetensors.torch

    path = Path(path)
    description = ModelDescription.model_validate(_without_unknown_fields(description))
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    _check_weights({name: _type_and_shape(tensor) for name, tensor in tensors.items()}, description, path)
    if half:
        tensors = {n: t.half() if _type_and_shape(t)[0] in _HALF else t for n, t in tensors.items()}
    _check_finite(tensors, path)

    texts = {
        DESCRIPTION: description.model_dump(mode="json"),
        INFERENCE: bundle.inference(description),
        METADATA: bundle.metadata(description),
    }
    for name, text in texts.items():
        _check_inert(text, path, name)
    contents = {name: (json.dumps(text, indent=1, allow_nan=False) + "\n").encode() for name, text in texts.items()}
    contents["LICENSE"] = bundle.licence_text(description).encode()
    contents["docs/README.md"] = bundle.readme(description).encode()
    contents[WEIGHTS] = safetensors.torch.save(tensors)
    contents[CHECKSUMS] = "".join(
        f"{hashlib.sha256(contents[name]).hexdigest()}  {name}\n" for name in MEMBERS if name != CHECKSUMS
    ).encode()
    folder = folder_name(description.name)
    remove_unfinished(path.parent, path.name)
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED, allowZip64=False) as file:
        for name in MEMBERS:
            info = zipfile.ZipInfo(f"{folder}/{name}", _MOMENT)
            info.create_system = 3  # Unix, on every system: the bytes are the same
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            file.writestr(info, contents[name])


def export_model(
    run_folder: str | Path, path: str | Path, licence: str = "", half: bool = False, overwrite: bool = False
) -> ModelDescription:
    """Writes the model file of a run from its best checkpoint, or its last one where there is no best.

    Args:
        run_folder: folder of a pretraining or fine-tuning run.
        path: the file to write, which ends in .zip.
        licence: name or text of the licence under which the model is passed on; empty keeps the checkpoint's.
        half: as in `write_model`.
        overwrite: replace the file where there is one already.

    Returns:
        The description that was written.

    Raises:
        InputError: the run has no checkpoint or a damaged one.
        OutputError: the file is there already, does not end in .zip, or cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".zip":
        raise OutputError(path, "cannot be a model file: its name must end in .zip", "Add .zip to the name.")
    check_outputs([path], [run_folder], overwrite)
    description, state = load_model(run_folder)
    if licence:
        description = description.model_copy(update={"licence": licence})
    write_model(path, description, state, half)
    return description


def install_model(path: str | Path, workspace: str | Path, name: str = "") -> Path:
    """Copies a model file, verified to the last byte, into the workspace's `models/`.

    Args:
        path: the model file.
        workspace: folder of the workspace.
        name: name in the workspace; empty takes the model's own.

    Returns:
        The path of the copy. A model that is there already, with the same bytes, is left as it is.

    Raises:
        ModelFileError: the file is not a whole, harmless model file, or another model has the name.
        WorkspaceError: the folder is not a workspace.
        OutputError: the workspace cannot be written to.
    """
    path = Path(path)
    require_there(workspace)
    name = name or folder_name(read_description(path).name)
    if not _FOLDER.fullmatch(name):
        raise ModelFileError(path, f"{name!r} is not a name for a model", "Use letters, digits, '-', '_' and '.'.")
    target = Path(workspace) / "models" / f"{name}.zip"
    remove_unfinished(target.parent)
    with whole_file(target) as temporary:
        shutil.copyfile(path, temporary)
        _read(temporary, path)  # the copy, since the file could change between check and use
        if target.exists() and sha256(target) != sha256(temporary):
            raise ModelFileError(path, f"the workspace has another model named {name}", "Choose another name.")
    return target


def folder_name(name: str) -> str:
    """Returns the name as it can stand in a path of a zip or of any file system."""
    return safe_name(name.replace("+", "_"), "model", ascii_only=True)


# Reading ---------------------------------------------------------------------------------------------------------


def read_description(path: str | Path) -> ModelDescription:
    """Reads what a model file says of its model; the weights are not read, and torch is not needed.

    Raises:
        ModelFileError: the file is not a model file, damaged, of a newer schema, or holds what it must not.
    """
    with _opened(Path(path), Path(path)) as members:
        return _description(members)


def read_model(path: str | Path) -> Model:
    """Reads a model file that may come from anybody.

    Returns:
        The model: description and weights, which unpack.

    Raises:
        ModelFileError: the file is not a model file, damaged, of a newer schema, or holds what it must not.
    """
    return _read(Path(path), Path(path))


def load_model(path: str | Path) -> Model:
    """Reads the model that a user names: a model file, or the folder of a run (its best checkpoint, or else its last).

    Returns:
        As `read_model`.

    Raises:
        InputError: it is neither, or damaged.

    Example:
        >>> from hssl import load_model
        >>> description, weights = load_model(workspace / "runs" / "brain")
        >>> description.kind, [c.name for c in description.tasks[0].classes]
        ('segmentation', ['lateral ventricle', 'thalamus', 'putamen'])
    """
    path = Path(path)
    if not path.is_dir():
        return read_model(path)
    description, content = _checkpoint(path)
    return Model(description, content["network"])


class DescribedModel(Result):
    """What there is to know of a model file or a run folder.

    Attributes:
        bytes: size of the model file, or of the run's checkpoint.
        checkpoint, config, result: of a run: the checkpoint's name, and what its files hold; no result before its end.
    """

    path: Path
    kind: Literal["pretrained", "segmentation"]
    bytes: int
    description: ModelDescription
    checkpoint: str | None = None
    config: dict[str, Any] | None = None
    result: dict[str, Any] | None = None


def describe(path: str | Path) -> DescribedModel:
    """Returns what there is to know of a model file or a run folder.

    Raises:
        InputError: it is neither, or damaged.
    """
    path = Path(path)
    if not path.is_dir():
        description = read_description(path)
        return DescribedModel(path=path, kind=description.kind, bytes=path.stat().st_size, description=description)
    description, _ = _checkpoint(path)
    file = path / _checkpoint_name(path)
    return DescribedModel(
        path=path,
        kind=description.kind,
        bytes=file.stat().st_size,
        description=description,
        checkpoint=file.name,
        config=read_json(path / CONFIG),
        result=read_json(path / RESULT) if (path / RESULT).exists() else None,
    )


def _checkpoint_name(run_folder: Path) -> str:
    return BEST if (run_folder / BEST).is_file() else LAST


def _checkpoint(run_folder: Path) -> tuple[ModelDescription, dict[str, Any]]:
    name = _checkpoint_name(run_folder)
    if not (run_folder / name).is_file():
        raise InputError(run_folder, "has no checkpoint", "Name the folder of a run that has trained, or a model file.")
    content = RunFolder(run_folder).load_checkpoint(name)
    try:
        return ModelDescription.model_validate(content["description"]), content
    except ValidationError as error:
        raise InputError(run_folder / name, f"is not a checkpoint: {_first_problem(error)}") from error


def _read(path: Path, shown: Path) -> Model:
    import safetensors
    import safetensors.torch

    with _opened(path, shown) as members:
        description = _description(members)
        header = members.header_of_weights()
        _check_weights(header, description, shown)
        data = members.read(WEIGHTS)
    try:
        tensors = safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError, RuntimeError) as error:
        raise ModelFileError(shown, f"{WEIGHTS} is damaged: {_short(error)}") from error
    if {name: _type_and_shape(tensor) for name, tensor in tensors.items()} != header:
        raise ModelFileError(shown, f"{WEIGHTS} has an ambiguous header")
    _check_finite(tensors, shown)
    halves = _HALF.values()
    state = {n: t.float() if _type_and_shape(t)[0] in halves else t for n, t in tensors.items()}
    return Model(description, {name: state[name] for name in header})


class _Members:
    """The members of a model file whose names, kinds and sizes have been checked; contents are checked when read."""

    def __init__(self, file: zipfile.ZipFile, infos: dict[str, zipfile.ZipInfo], shown: Path):
        self._file, self._infos, self.shown = file, infos, shown
        lines = self._content(CHECKSUMS).decode("ascii", errors="replace").splitlines()
        pairs = [re.fullmatch(r"([0-9a-f]{64})  (\S+)", line) for line in lines]
        self._sums = {pair[2]: pair[1] for pair in pairs if pair}
        if len(pairs) != len(self._sums) or set(self._sums) != set(MEMBERS) - {CHECKSUMS}:
            raise ModelFileError(shown, f"{CHECKSUMS} does not list each member once")

    def read(self, name: str) -> bytes:
        """Returns the member's bytes; raises ModelFileError when they do not have their checksum."""
        content = self._content(name)
        if hashlib.sha256(content).hexdigest() != self._sums[name]:
            raise ModelFileError(self.shown, f"{name} does not have its checksum", "Copy or download the file again.")
        return content

    def read_json(self, name: str) -> dict[str, Any]:
        """Returns the member's JSON object; raises ModelFileError when it is not valid, or not harmless."""
        try:
            value = json.loads(self.read(name).decode("utf-8"), object_pairs_hook=_unambiguous)
        except (ValueError, RecursionError) as error:
            raise ModelFileError(self.shown, f"{name} is not valid JSON: {_short(error)}") from error
        if not isinstance(value, dict):
            raise ModelFileError(self.shown, f"{name} is not a JSON object")
        _check_inert(value, self.shown, name)
        return value

    def header_of_weights(self) -> dict[str, tuple[str, list[int]]]:
        """Returns type and shape of each tensor as the weights' header declares them; no tensor is read."""
        size = self._infos[WEIGHTS].file_size
        start = self._content(WEIGHTS, 8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > min(TEXT_LIMIT, size - 8):
            raise ModelFileError(self.shown, f"{WEIGHTS} is not a safetensors file")
        try:
            header = json.loads(self._content(WEIGHTS, 8 + length)[8:].decode("utf-8"))
            header.pop("__metadata__", None)
            end = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
            found = {name: (str(entry["dtype"]), list(entry["shape"])) for name, entry in header.items()}
        except (ValueError, RecursionError, AttributeError, TypeError, LookupError) as error:
            raise ModelFileError(self.shown, f"{WEIGHTS} has a damaged header: {_short(error)}") from error
        if size != end:
            raise ModelFileError(self.shown, f"{WEIGHTS} has {size} bytes, its tensors end at {_short(end)}")
        return found

    def _content(self, name: str, count: int | None = None) -> bytes:
        try:
            with self._file.open(self._infos[name]) as member:
                return member.read(self._infos[name].file_size if count is None else count)
        except _ZIP_ERRORS as error:
            raise ModelFileError(self.shown, f"{name} is damaged: {_short(error)}") from error


_ZIP_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    OverflowError,
    OSError,
    struct.error,
)
"""What the standard library's reader raises at damaged files."""


@contextmanager
def _opened(path: Path, shown: Path) -> Iterator[_Members]:
    """Yields the members of a model file; `shown` is the path that messages name."""
    if shown.name in (BEST, LAST) and (shown.parent / CONFIG).is_file():
        raise ModelFileError(
            shown, "is a checkpoint of a run, not a model file", f"Name the run instead: {shown.parent}"
        )
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ModelFileError(shown, "is not a file")
        file = open(path, "rb")
    except OSError as error:
        raise ModelFileError(shown, f"cannot be read: {error.strerror or error}") from error
    with file:
        size = _check_frame(file, shown)
        try:
            archive = zipfile.ZipFile(file)
        except _ZIP_ERRORS as error:
            raise ModelFileError(shown, f"is not a whole zip file: {_short(error)}") from error
        with archive:
            yield _Members(archive, _checked_infos(archive.infolist(), size, shown), shown)


def _check_frame(file: BinaryIO, shown: Path) -> int:
    """Checks the zip's first bytes and its end record, before anything else is read; returns the file's size."""
    size = file.seek(0, 2)
    limit = WEIGHTS_LIMIT + len(MEMBERS) * TEXT_LIMIT
    if size > limit:
        raise ModelFileError(shown, f"has {size} bytes, more than the {limit} of any model file")
    file.seek(0)
    start = file.read(4)
    if start[:1] == b"\x80":
        raise ModelFileError(shown, "is a pickle, which could execute code", "Only files that HSSL exported are read.")
    if start != b"PK\x03\x04":
        raise ModelFileError(shown, "is not a model file (not a zip)")
    tail_size = _END_RECORD.size + _ZIP64_LOCATOR_SIZE
    file.seek(max(0, size - tail_size))
    tail = file.read(tail_size)
    record = tail[-_END_RECORD.size :]
    if len(tail) < tail_size or not record.startswith(b"PK\x05\x06"):
        raise ModelFileError(shown, "is truncated or has something appended: its end record is not at its end")
    _, _, _, _, count, directory_size, _, comment_size = _END_RECORD.unpack(record)
    # zipfile would follow a zip64 record to a directory of any length.
    if tail.startswith(b"PK\x06\x07"):
        raise ModelFileError(shown, "is a zip64 file, which model files are not")
    if directory_size > 64 * 1024 or comment_size:
        raise ModelFileError(
            shown,
            f"is not a model file: it has {counted(count, 'member')} and {counted(comment_size, 'byte')} of comment",
        )
    return size


def _checked_infos(infos: list[zipfile.ZipInfo], size: int, shown: Path) -> dict[str, zipfile.ZipInfo]:
    """Returns the members by their name below the model's folder; refuses all but the exact set."""
    found: dict[str, zipfile.ZipInfo] = {}
    folders = set()
    for info in infos:
        name = info.orig_filename
        said = ascii(name[:120])
        kind = stat.S_IFMT(info.external_attr >> 16)
        folder, _, rest = name.partition("/")
        if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or ":" in name or "\\" in name:
            raise ModelFileError(shown, f"its member {said} would lie outside its folder")
        if kind == stat.S_IFLNK:
            raise ModelFileError(shown, f"its member {said} is a symbolic link")
        if kind not in (0, stat.S_IFREG):
            raise ModelFileError(shown, f"its member {said} is a folder or a device, not a file")
        if name.endswith((".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin")):
            raise ModelFileError(
                shown,
                f"its member {said} is a pickle, which could execute code",
                "Only files that HSSL exported are read.",
            )
        if rest not in MEMBERS or not _FOLDER.fullmatch(folder) or info.filename != name:
            raise ModelFileError(shown, f"its member {said} does not belong into a model file")
        if rest in found:
            raise ModelFileError(shown, f"it has two members {said}")
        if info.flag_bits & 0x1:
            raise ModelFileError(shown, f"its member {said} is encrypted")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise ModelFileError(
                shown,
                f"its member {said} is compressed ({info.compress_size} bytes say they hold {info.file_size})",
                "Pass model files on as they are; do not pack them again.",
            )
        if info.file_size > (WEIGHTS_LIMIT if rest == WEIGHTS else TEXT_LIMIT):
            raise ModelFileError(shown, f"its member {said} says it has {info.file_size} bytes, which is too many")
        found[rest] = info
        folders.add(folder)
    missing = [name for name in MEMBERS if name not in found]
    if missing:
        raise ModelFileError(shown, f"is not a model file: it has no {missing[0]}")
    if len(folders) != 1:
        raise ModelFileError(shown, f"has members in {counted(len(folders), 'folder')} instead of one")
    if sum(info.file_size for info in found.values()) > size:
        raise ModelFileError(shown, "says it holds more bytes than it has: members overlap or it is truncated")
    return found


def _description(members: _Members) -> ModelDescription:
    shown = members.shown
    values = members.read_json(DESCRIPTION)
    schema = values.get("schema_version")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise ModelFileError(shown, f"{DESCRIPTION} is not a model's description: schema_version is {_short(schema)}")
    if schema > MODEL_SCHEMA:
        raise ModelFileError(
            shown, f"has schema {_short(schema)}, this version reads up to {MODEL_SCHEMA}", "Update HSSL."
        )
    try:
        description = ModelDescription.model_validate(values)
    except ValidationError as error:
        raise ModelFileError(shown, f"{DESCRIPTION}: {_first_problem(error)}") from error
    for task in description.tasks:
        for record in (task, *task.classes):
            if record.model_extra:
                raise ModelFileError(shown, f"{DESCRIPTION}: unknown field {_short(next(iter(record.model_extra)))!r}")
    if math.prod(description.patch_size) > PATCH_LIMIT:
        raise ModelFileError(shown, f"{DESCRIPTION}: patches of {description.patch_size} voxels are absurd")
    # The rest is not used here, but must not harm whoever hands the file to MONAI.
    members.read_json(METADATA)
    members.read_json(INFERENCE)
    members.read("LICENSE")
    members.read("docs/README.md")
    return description


def _check_inert(value: Any, shown: Path, member: str, depth: int = 0) -> None:
    """Refuses what MONAI's ConfigParser would execute, and what cannot be written again."""
    if depth > 32:
        raise ModelFileError(shown, f"{member} is nested too deeply")
    if isinstance(value, dict):
        for key, below in value.items():
            target_ok = member == INFERENCE and key == "_target_" and below == bundle.NETWORK_TARGET
            if key.startswith("_") and key.endswith("_") and not target_ok:
                raise ModelFileError(
                    shown, f"{member} names something to import or execute: {_short(key)} = {_short(below)}"
                )
            _check_inert(key, shown, member, depth + 1)
            _check_inert(below, shown, member, depth + 1)
    elif isinstance(value, list):
        for below in value:
            _check_inert(below, shown, member, depth + 1)
    elif isinstance(value, str):
        if value.startswith(("$", "%")) and member != DESCRIPTION:
            raise ModelFileError(shown, f"{member} holds an expression to execute: {_short(value)}")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ModelFileError(shown, f"{member} holds text that is not Unicode: {_short(value)}") from error
    elif isinstance(value, float) and not math.isfinite(value):
        raise ModelFileError(shown, f"{member} holds the number {value}")


# Weights ---------------------------------------------------------------------------------------------------------


def _type_and_shape(tensor: torch.Tensor) -> tuple[str, list[int]]:
    dtype = str(tensor.dtype).removeprefix("torch.")
    return _DTYPES.get(dtype, dtype), list(tensor.shape)


def _check_weights(found: dict[str, tuple[str, list[int]]], description: ModelDescription, shown: Path) -> None:
    """Compares names, types and shapes of tensors with those of the network that the description builds."""
    import torch

    from .network import build_network

    try:
        with torch.device("meta"):  # shapes without memory
            network = build_network(description.network, description.out_channels)
    except (HSSLError, ValueError, RuntimeError, OverflowError) as error:
        raise ModelFileError(shown, f"describes a network that cannot be built: {_short(error)}") from error
    wanted = {name: _type_and_shape(tensor) for name, tensor in network.state_dict().items()}
    for name, type_and_shape in found.items():
        if name not in wanted:
            raise ModelFileError(shown, f"{WEIGHTS}: the network has no tensor {_short(name)!r}")
        dtype, shape = wanted[name]
        if type_and_shape not in ((dtype, shape), (_HALF.get(dtype, dtype), shape)):
            raise ModelFileError(
                shown,
                f"{WEIGHTS}: {name} has type and shape {_short(type_and_shape)}, the network's has {wanted[name]}",
            )
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ModelFileError(
            shown, f"{WEIGHTS} lacks {counted(len(missing), 'tensor')} of the network, such as {missing[0]}"
        )


def _check_finite(tensors: dict[str, torch.Tensor], shown: Path) -> None:
    import torch

    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelFileError(shown, f"{WEIGHTS}: {name} holds NaN or infinite numbers")


def _without_unknown_fields(description: ModelDescription) -> dict[str, Any]:
    values = description.model_dump(mode="json")
    for task, plain in zip(description.tasks, values["tasks"], strict=True):
        for record, fields in ((task, plain), *zip(task.classes, plain["classes"], strict=True)):
            for name in record.model_extra or {}:
                del fields[name]
    return values


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{_short('.'.join(map(str, first['loc']))) or 'the description'}: {_short(first['msg'])}"


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return values


def _short(value: object) -> str:
    """Returns a value as text that fits into a message and onto any terminal."""
    text = " ".join(str(value).split()) if isinstance(value, Exception | str) else repr(value)
    return ascii(text)[1:-1][:200]
