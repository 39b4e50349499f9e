"""Campaign: hostile and damaged model files are refused with the reason; nothing is executed or written elsewhere.

    PYTHONPATH=HSSLSegmentation python Testing/robustness/untrusted_models.py --count 2000 --seed 1

Each attempt makes a file by one of the mutations below, then reads it in every way there is (description, whole model,
import into a workspace, `describe`). It must be refused with a ModelFileError that names the file, or load with the
very weights that its checksums vouch for. An audit hook watches the process for anything that executes code, starts a
process, opens a socket or touches a file outside the workspace. A failure prints the seed that replays it.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import io
import json
import os
import pickle
import random
import resource
import shutil
import stat
import struct
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hssl.errors import ModelFileError
from hssl.models.description import ModelDescription
from hssl.models.model_file import (
    CHECKSUMS,
    DESCRIPTION,
    INFERENCE,
    METADATA,
    WEIGHTS,
    describe,
    install_model,
    read_description,
    read_model,
    write_model,
)
from hssl.models.network import build_network
from hssl.workspace.catalogue import Catalogue

MEMORY_LIMIT = 400 * 2**20
"""Bytes by which the process may grow over the whole campaign."""
FOLDER = "phantom"


@dataclass
class Member:
    """A member of a zip as it will be written."""

    name: str
    content: bytes
    mode: int = stat.S_IFREG | 0o644
    compression: int = zipfile.ZIP_STORED


class Base:
    """A good model file, taken apart, from which each mutation makes a bad one.

    Args:
        folder: receives the good file and the canary, which appears when something executes.
    """

    def __init__(self, folder: Path):
        self.canary = folder / "canary"
        self.path = folder / "good.zip"
        description = {
            "kind": "segmentation",
            "name": FOLDER,
            "network": {"in_slices": 1},
            "patch_size": [32, 32],
            "tasks": [{"name": "t", "modality": "CT", "classes": [{"value": 1, "name": "one", "color": [1, 0, 0]}]}],
            "fingerprints": {
                "t": {
                    "spacing": [1, 1, 1],
                    "slice_axis": 0,
                    "normalisation": "window",
                    "lower": -100,
                    "upper": 300,
                    "center": 20,
                    "scale": 80,
                    "median_size": [8, 32, 32],
                }
            },
            "out_channels": 2,
            "provenance": {"steps": 3, "seeds": [1, 2]},
            "figures": {"validation_dice": 0.5},
        }
        checked = ModelDescription.model_validate(description)
        write_model(self.path, checked, build_network(checked.network, 2).state_dict())
        self.bytes = self.path.read_bytes()
        self.description, self.state = read_model(self.path)
        with zipfile.ZipFile(self.path) as file:
            self.contents = {name.partition("/")[2]: file.read(name) for name in file.namelist()}

    def json(self, name: str = DESCRIPTION) -> Any:
        return json.loads(self.contents[name])

    def members(self, **changed: bytes) -> list[Member]:
        """Returns all members with honest checksums, some of them changed (`a__b` stands for `a/b`)."""
        contents = self.contents | changed
        sums = "".join(f"{hashlib.sha256(c).hexdigest()}  {n}\n" for n, c in contents.items() if n != CHECKSUMS)
        return [Member(f"{FOLDER}/{n}", sums.encode() if n == CHECKSUMS else c) for n, c in contents.items()]

    def with_changed(self, name: str, content: bytes) -> bytes:
        return packed(self.members(**{name: content}))

    def payload(self) -> object:
        """Returns an object whose unpickling makes the canary appear."""
        return _Payload(str(self.canary))


class _Payload:
    def __init__(self, path: str):
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return (os.mkdir, (self.path,))


def packed(members: list[Member]) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as file:
        warnings.simplefilter("ignore")  # duplicate names are meant
        for member in members:
            info = zipfile.ZipInfo(member.name, (1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = member.mode << 16
            info.compress_type = member.compression
            file.writestr(info, member.content)
    return stream.getvalue()


# Mutations: each returns the bytes of a file -----------------------------------------------------------------------

Mutation = Callable[[random.Random, Base], bytes]
MUTATIONS: dict[str, Mutation] = {}
MAY_LOAD = {"flipped bytes", "flipped bytes of the directory", "changed value of the description"}
"""Kinds that can leave a good file; every other kind has to be refused."""


def mutation(kind: str) -> Callable[[Mutation], Mutation]:
    def register(function: Mutation) -> Mutation:
        MUTATIONS[kind] = function
        return function

    return register


@mutation("flipped bytes")
def _(draw: random.Random, base: Base) -> bytes:
    data = bytearray(base.bytes)
    for _ in range(draw.randint(1, 20)):
        data[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(data)


@mutation("flipped bytes of the directory")
def _(draw: random.Random, base: Base) -> bytes:
    data = bytearray(base.bytes)
    start = data.index(b"PK\x01\x02")
    for _ in range(draw.randint(1, 6)):
        data[draw.randrange(start, len(data))] = draw.randrange(256)
    return bytes(data)


@mutation("truncated")
def _(draw: random.Random, base: Base) -> bytes:
    return base.bytes[: draw.choice([0, 1, 3, 4, 21, 22, len(base.bytes) - 1, draw.randrange(len(base.bytes))])]


@mutation("something appended")
def _(draw: random.Random, base: Base) -> bytes:
    return base.bytes + draw.randbytes(draw.randint(1, 1000))


@mutation("something before it")
def _(draw: random.Random, base: Base) -> bytes:
    return draw.randbytes(draw.randint(1, 1000)) + base.bytes


@mutation("bytes inserted or deleted")
def _(draw: random.Random, base: Base) -> bytes:
    at = draw.randrange(4, len(base.bytes) - 30)
    if draw.random() < 0.5:
        return base.bytes[:at] + draw.randbytes(draw.randint(1, 50)) + base.bytes[at:]
    return base.bytes[:at] + base.bytes[at + draw.randint(1, 25) :]


@mutation("not a zip")
def _(draw: random.Random, base: Base) -> bytes:
    return draw.choice(
        [b"", b"\x80\x04", b"PK", b"PK\x03\x04", b"\x1f\x8b", b"{", draw.randbytes(draw.randint(1, 5000))]
    )


@mutation("pickle")
def _(draw: random.Random, base: Base) -> bytes:
    return pickle.dumps(base.payload(), protocol=draw.choice([2, 3, 4, 5]))


@mutation("torch pickle")
def _(draw: random.Random, base: Base) -> bytes:
    stream = io.BytesIO()
    torch.save({"w": torch.zeros(3), "p": base.payload()}, stream, _use_new_zipfile_serialization=draw.random() < 0.7)
    return stream.getvalue()


@mutation("pickle as weights")
def _(draw: random.Random, base: Base) -> bytes:
    return base.with_changed(WEIGHTS, pickle.dumps(base.payload()))


@mutation("pickle as an additional member")
def _(draw: random.Random, base: Base) -> bytes:
    name = draw.choice(["models/model.pt", "data.pkl", "models/model.pth", "x.pickle"])
    return packed([*base.members(), Member(f"{FOLDER}/{name}", pickle.dumps(base.payload()))])


@mutation("path outside")
def _(draw: random.Random, base: Base) -> bytes:
    name = draw.choice(
        [
            "../evil",
            "../../../../evil",
            f"{FOLDER}/../../evil",
            f"{base.canary}",
            f"//{base.canary}",
            "..\\evil",
            "C:\\evil",
            "C:evil",
            "\\\\host\\share\\evil",
            f"{FOLDER}/configs/../../../evil",
            "~/evil",
            f"{FOLDER}\\..\\..\\evil",
        ]
    )
    members = base.members()
    if draw.random() < 0.5:
        members.append(Member(name, b"evil"))
    else:
        draw.choice(members).name = name
    return packed(members)


@mutation("symbolic link or device")
def _(draw: random.Random, base: Base) -> bytes:
    members = base.members()
    member = draw.choice(members)
    member.mode = draw.choice([stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR]) | 0o777
    if draw.random() < 0.5:
        member.content = b"/etc/passwd"
    return packed(members)


@mutation("duplicate member")
def _(draw: random.Random, base: Base) -> bytes:
    members = base.members()
    member = copy.copy(draw.choice(members))
    member.content = draw.choice([member.content, b"other"])
    members.insert(draw.randrange(len(members) + 1), member)
    return packed(members)


@mutation("unknown member")
def _(draw: random.Random, base: Base) -> bytes:
    name = draw.choice(
        ["hooks.py", "__init__.py", "configs/train.json", "docs/", "é", "a" * 300, "models/model.ts", " "]
    )
    return packed([*base.members(), Member(draw.choice([f"{FOLDER}/", "other/", ""]) + name, b"x")])


@mutation("missing member")
def _(draw: random.Random, base: Base) -> bytes:
    members = base.members()
    del members[draw.randrange(len(members))]
    return packed(members)


@mutation("two folders")
def _(draw: random.Random, base: Base) -> bytes:
    members = base.members()
    member = draw.choice(members)
    member.name = member.name.replace(FOLDER, draw.choice(["other", "", ".", "PHANTOM", "a" * 101]), 1)
    return packed(members)


@mutation("encrypted")
def _(draw: random.Random, base: Base) -> bytes:
    data = bytearray(base.bytes)
    at = data.index(b"PK\x01\x02")
    for _ in range(draw.randrange(7)):
        at = data.index(b"PK\x01\x02", at + 4)
    data[at + 8] |= 1
    return bytes(data)


@mutation("compression bomb")
def _(draw: random.Random, base: Base) -> bytes:
    members = base.members()
    member = draw.choice(members)
    member.content = bytes(draw.randint(1, 40) * 2**20)
    member.compression = draw.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    return packed(members)


@mutation("compressed members")
def _(draw: random.Random, base: Base) -> bytes:
    members = base.members()
    for member in members:
        member.compression = zipfile.ZIP_DEFLATED
    return packed(members)


@mutation("size that is a lie")
def _(draw: random.Random, base: Base) -> bytes:
    data = bytearray(base.bytes)
    at = data.index(b"PK\x01\x02")
    for _ in range(draw.randrange(7)):
        at = data.index(b"PK\x01\x02", at + 4)
    size = draw.choice([0, 1, 2**31 - 1, 2**32 - 2, 2**32 - 1, len(data) * 2])
    struct.pack_into("<L", data, at + 24, size)
    if draw.random() < 0.5:
        struct.pack_into("<L", data, at + 20, size)
    return bytes(data)


@mutation("overlapping members")
def _(draw: random.Random, base: Base) -> bytes:
    data = bytearray(base.bytes)
    starts, at = [], data.index(b"PK\x01\x02")
    while at != -1:
        starts.append(at)
        at = data.find(b"PK\x01\x02", at + 4)
    one, other = draw.sample(starts, 2)
    data[one + 42 : one + 46] = data[other + 42 : other + 46]
    return bytes(data)


@mutation("zip64")
def _(draw: random.Random, base: Base) -> bytes:
    end = len(base.bytes) - 22
    directory = base.bytes.index(b"PK\x01\x02")
    size = draw.choice([end - directory, 2**40, 2**63, 0])
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 7, 7, size, directory)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    return base.bytes[:end] + record + locator + base.bytes[end:]


@mutation("too many members")
def _(draw: random.Random, base: Base) -> bytes:
    return packed([*base.members(), *(Member(f"{FOLDER}/{n}", b"") for n in range(draw.choice([100, 2000])))])


@mutation("wrong checksum")
def _(draw: random.Random, base: Base) -> bytes:
    members = base.members()
    member = draw.choice([m for m in members if not m.name.endswith(CHECKSUMS)])
    content = bytearray(member.content)
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    member.content = bytes(content)
    return packed(members)


@mutation("checksums of something else")
def _(draw: random.Random, base: Base) -> bytes:
    members = base.members()
    sums = next(m for m in members if m.name.endswith(CHECKSUMS))
    lines = sums.content.decode().splitlines()
    draw.choice(
        [
            lambda: lines.pop(),
            lambda: lines.append(lines[0]),
            lambda: lines.append("0" * 64 + "  ../evil"),
            lambda: lines.__setitem__(0, lines[0].upper()),
            lambda: lines.__setitem__(slice(None), []),
            lambda: lines.append("\0\xff"),
        ]
    )()
    sums.content = "\n".join(lines).encode()
    return packed(members)


@mutation("newer schema")
def _(draw: random.Random, base: Base) -> bytes:
    values = base.json() | {"schema_version": draw.choice([2, 3, 99, 10**30])}
    return base.with_changed(DESCRIPTION, json.dumps(values).encode())


@mutation("schema that is none")
def _(draw: random.Random, base: Base) -> bytes:
    schema = draw.choice([0, -1, "1", None, True, 1.5, [], {}, "os.system"])
    return base.with_changed(DESCRIPTION, json.dumps(base.json() | {"schema_version": schema}).encode())


def _places(value: Any) -> list[dict[str, Any]]:
    below = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return ([value] if isinstance(value, dict) else []) + [place for child in below for place in _places(child)]


@mutation("class to import in the description")
def _(draw: random.Random, base: Base) -> bytes:
    values = base.json()
    place = draw.choice(_places(values))
    place["_target_"] = draw.choice(
        ["os.mkdir", "subprocess.run", "builtins.eval", "hssl.models.network.build_network"]
    )
    place["path"] = str(base.canary)
    return base.with_changed(DESCRIPTION, json.dumps(values).encode())


@mutation("class to import for MONAI")
def _(draw: random.Random, base: Base) -> bytes:
    name = draw.choice([INFERENCE, METADATA])
    values = base.json(name)
    place = draw.choice(_places(values))
    place["_target_"] = "os.mkdir"
    place["path"] = str(base.canary)
    return base.with_changed(name, json.dumps(values).encode())


@mutation("expression for MONAI")
def _(draw: random.Random, base: Base) -> bytes:
    name = draw.choice([INFERENCE, METADATA])
    values = base.json(name)
    code = f"$__import__('os').mkdir({str(base.canary)!r})"
    draw.choice(_places(values))["x"] = draw.choice([code, [code], {"y": [1, code]}, f"%{base.canary}"])
    return base.with_changed(name, json.dumps(values).encode())


@mutation("unknown field")
def _(draw: random.Random, base: Base) -> bytes:
    values = base.json()
    places = [p for p in _places(values) if p is not values["provenance"] and p is not values["figures"]]
    name = draw.choice(["command", "__class__", "class", "é", "a" * 5000, "", "\ud800"])
    place = draw.choice([p for p in places if p is not values["fingerprints"]])
    place[name] = draw.choice([1, "x", None, []])
    return base.with_changed(DESCRIPTION, json.dumps(values).encode())


WILD: list[Any] = [None, True, -1, 0, 1e308, 1e-320, 10**18, 10**400, "", "x", "\ud800", [], {}, [[]], "a" * 10**5, 0.1]


@mutation("changed value of the description")
def _(draw: random.Random, base: Base) -> bytes:
    values = base.json()
    for _ in range(draw.randint(1, 3)):
        place = draw.choice([p for p in _places(values) if p])
        key = draw.choice(list(place))
        if isinstance(place[key], list) and place[key] and draw.random() < 0.7:
            place[key][draw.randrange(len(place[key]))] = draw.choice(WILD)
        else:
            place[key] = draw.choice(WILD)
    return base.with_changed(DESCRIPTION, json.dumps(values).encode())


@mutation("absurd network")
def _(draw: random.Random, base: Base) -> bytes:
    values = base.json()
    draw.choice(
        [
            lambda: values.update(out_channels=10**9, kind="pretrained"),
            lambda: values.update(out_channels=10**30, kind="pretrained"),
            lambda: values.update(out_channels=3, kind="pretrained"),
            lambda: values["network"].update(size="large"),
            lambda: values["network"].update(spatial_dims=3, in_slices=1) or values.update(patch_size=[8, 8, 8]),
            lambda: values["network"].update(in_slices=10**9 + 1),
            lambda: values["network"].update(norm="batch"),
            lambda: values["network"].update(norm="os.system"),
            lambda: values.update(patch_size=[10**9, 10**9]),
        ]
    )()
    return base.with_changed(DESCRIPTION, json.dumps(values).encode())


@mutation("text that is not JSON")
def _(draw: random.Random, base: Base) -> bytes:
    text = base.contents[DESCRIPTION]
    content = draw.choice(
        [
            b"",
            b"null",
            b"[]",
            b"\xff\xfe",
            b"[" * 10**5,
            b'{"a":' * 10**5,
            text.replace(b"0.5", b"NaN"),
            text.replace(b"0.5", b"Infinity"),
            text.replace(b"0.5", b"1e999"),
            text.replace(b"0.5", b"9" * 10**4),
            text[:-10],
            b"{" + b'"provenance":' + b"[" * 50 + b"]" * 50 + b"," + text[1:],
            text.replace(b'"provenance": {', b'"provenance": {"x": ' + b"[" * 50 + b"]" * 50 + b", "),
            bytes(5 * 2**20),
        ]
    )
    return base.with_changed(
        draw.choice([DESCRIPTION, INFERENCE, METADATA]) if content != text else DESCRIPTION, content
    )


def _weights(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _taken_apart(base: Base) -> tuple[dict[str, Any], bytes]:
    weights = base.contents[WEIGHTS]
    length = struct.unpack_from("<Q", weights)[0]
    return json.loads(weights[8 : 8 + length]), weights[8 + length :]


@mutation("tensor of absurd shape or type")
def _(draw: random.Random, base: Base) -> bytes:
    header, data = _taken_apart(base)
    entry = header[draw.choice([n for n in header if n != "__metadata__"])]
    draw.choice(
        [
            lambda: entry.update(shape=[10**12]),
            lambda: entry.update(shape=[2**63, 2**63]),
            lambda: entry.update(shape=[0, 10**12]),
            lambda: entry.update(shape=[*entry["shape"], 1]),
            lambda: entry.update(shape=[-1]),
            lambda: entry.update(shape="os.system"),
            lambda: entry.update(shape=[[]] * 5),
            lambda: entry.update(dtype="F64"),
            lambda: entry.update(dtype="I32"),
            lambda: entry.update(dtype="O"),
            lambda: entry.update(dtype=None),
            lambda: entry.update(data_offsets=[0, 10**15]),
            lambda: entry.update(data_offsets=[4, 0]),
            lambda: entry.update(data_offsets=[]),
            lambda: entry.update(data_offsets=["0", "4"]),
            lambda: entry.update(data_offsets=None),
            lambda: [e.update(data_offsets=["0", "4"]) for n, e in header.items() if n != "__metadata__"],
            lambda: entry.clear(),
        ]
    )()
    return base.with_changed(WEIGHTS, _weights(header, data))


@mutation("other tensors")
def _(draw: random.Random, base: Base) -> bytes:
    import safetensors.torch

    state = dict(base.state)
    name = draw.choice(list(state))
    tensor = state.pop(name)
    draw.choice(
        [
            lambda: None,
            lambda: state.update({name: tensor.double()}),
            lambda: state.update({name: tensor.bfloat16()}),
            lambda: state.update({name: tensor[:0].clone()}),
            lambda: state.update({name: torch.zeros(3, 5, 7)}),
            lambda: state.update({name: tensor, "extra": torch.zeros(1)}),
            lambda: state.update({name + "\0": tensor}),
            lambda: state.update({"__import__('os')": tensor}),
            lambda: state.clear(),
        ]
    )()
    return base.with_changed(WEIGHTS, safetensors.torch.save(state))


@mutation("NaN or infinite weights")
def _(draw: random.Random, base: Base) -> bytes:
    import safetensors.torch

    state = {name: tensor.clone() for name, tensor in base.state.items()}
    tensor = state[draw.choice(list(state))].view(-1)
    tensor[draw.randrange(len(tensor))] = draw.choice([float("nan"), float("inf"), float("-inf")])
    return base.with_changed(WEIGHTS, safetensors.torch.save(state))


@mutation("damaged safetensors")
def _(draw: random.Random, base: Base) -> bytes:
    header, data = _taken_apart(base)
    text = json.dumps(header).encode()
    first = next(n for n in header if n != "__metadata__")
    content = draw.choice(
        [
            b"",
            b"\0" * 7,
            struct.pack("<Q", 2**63) + text + data,
            struct.pack("<Q", len(text) + len(data) + 1) + text + data,
            struct.pack("<Q", 10**7) + text + data,
            struct.pack("<Q", 2) + b"[]",
            struct.pack("<Q", 2) + b"{}",
            struct.pack("<Q", 1) + b"5",
            struct.pack("<Q", len(text)) + text + data[:-4],
            struct.pack("<Q", len(text)) + text + data + b"\0" * 4,
            struct.pack("<Q", 10**5) + b"[" * 10**5,
            _weights(dict.fromkeys(header, header[first]), data),
            struct.pack("<Q", len(text) + 1) + text[:1] + text[:0] + b" " + text[1:] + data[:-8],
        ]
    )
    return base.with_changed(WEIGHTS, content)


@mutation("random flips with honest checksums")
def _(draw: random.Random, base: Base) -> bytes:
    # Only in the header: flipped weights with honest checksums are other, good weights.
    content = bytearray(base.contents[WEIGHTS])
    length = struct.unpack_from("<Q", content)[0]
    at = draw.randrange(0, 8 + length)
    content[at] = (content[at] + draw.randrange(1, 256)) % 256
    # A flip in the offsets' white space or between equal bytes changes nothing; such a draw is turned into a sure one.
    if content[8 : 8 + length].strip() == base.contents[WEIGHTS][8 : 8 + length].strip():
        content[0] ^= 1
    return base.with_changed(WEIGHTS, bytes(content))


@mutation("gzip bomb")
def _(draw: random.Random, base: Base) -> bytes:
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + zlib.compress(bytes(2**22))[2:-4]


# Watching ----------------------------------------------------------------------------------------------------------


class Watch:
    """Records what the process does that reading a model file has no business to do."""

    FORBIDDEN = (
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.fork",
        "subprocess.Popen",
        "socket.connect",
        "socket.bind",
        "pickle.find_class",
        "ctypes.dlopen",
        "os.symlink",
        "os.link",
        "shutil.rmtree",
    )
    WRITING = ("os.mkdir", "os.rename", "os.remove", "os.chmod", "os.truncate")

    def __init__(self, allowed: Path):
        self.allowed, self.seen, self.on = str(allowed), [], False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in self.FORBIDDEN:
            self.seen.append((event, arguments))
        elif event in self.WRITING:
            if not str(arguments[0]).startswith(self.allowed):
                self.seen.append((event, arguments))
        elif event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path, _, flags = arguments
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and not os.fsdecode(path).startswith(self.allowed):
                self.seen.append((event, arguments))


class Failure(AssertionError):
    """An attempt did not end as it must."""


def attempt(path: Path, kind: str, base: Base, workspace: Path) -> str | None:
    """Reads a file in every way; returns the reason of refusal, or None when it loaded as the good one.

    Raises:
        Failure: the ways disagree, a message is not fit for a person, or what loaded is not what was vouched for.
    """
    reasons: list[str | None] = []
    for read in (read_model, read_description, describe, lambda p: install_model(p, workspace)):
        try:
            result = read(path)
        except ModelFileError as error:
            if str(path) not in str(error) or len(error.reason) < 10 or len(str(error)) > len(str(path)) + 600:
                raise Failure(f"message unfit for a person: {error}") from error
            str(error).encode()
            reasons.append(error.reason)
            continue
        reasons.append(None)
        if read is read_model:
            description, state = result
            if list(state) != list(base.state) or any(not torch.equal(state[n], base.state[n]) for n in state):
                raise Failure("loaded with other weights")
            if kind != "changed value of the description" and description != base.description:
                raise Failure("loaded with another description")
        elif isinstance(result, Path):
            if result.parent != workspace / "models" or result.read_bytes() != path.read_bytes():
                raise Failure(f"imported to {result} with other bytes")
            result.unlink()
    if (reasons[0] is None) != (reasons[3] is None):
        raise Failure(f"read_model and install_model disagree: {reasons}")
    if reasons[0] is None and any(reasons):
        raise Failure(f"the model loads, its description does not: {reasons}")
    if reasons[0] is None and kind not in MAY_LOAD:
        raise Failure("was not refused")
    return reasons[0]


def campaign(count: int, seed: int, folder: Path) -> dict[str, list[str | None]]:
    """Makes `count` attempts, going round the kinds; returns the reasons of refusal (None: loaded) by kind.

    Raises:
        Failure: an attempt did not end as it must; the message has the seed and the number of the attempt.
    """
    base = Base(folder)
    workspace = folder / "workspace"
    Catalogue.create(workspace)
    path = folder / "model.zip"
    watch = Watch(workspace / "models")
    reasons: dict[str, list[str | None]] = {kind: [] for kind in MUTATIONS}
    attempt(base.path, "flipped bytes", base, workspace)  # imports everything before the watch begins
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kinds = list(MUTATIONS)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        draw = random.Random(f"{seed}/{number}")
        path.write_bytes(MUTATIONS[kind](draw, base))
        before = _listing(folder)
        watch.seen.clear()
        watch.on = True
        try:
            reasons[kind].append(attempt(path, kind, base, workspace))
            if watch.seen:
                raise Failure(f"did what it must not: {watch.seen[:3]}")
            if base.canary.exists():
                raise Failure("executed code")
            if _listing(folder) != before:
                raise Failure(f"left files: {sorted(_listing(folder) ^ before)}")
        except Exception as error:
            watch.on = False
            kept = folder / f"failure-{seed}-{number}.zip"
            shutil.copyfile(path, kept)
            raise Failure(f"seed {seed}, attempt {number} ({kind}): {error!r}; the file is {kept}") from error
        finally:
            watch.on = False
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) * 1024
    if grown > MEMORY_LIMIT:
        raise Failure(f"seed {seed}: memory grew by {grown / 2**20:.0f} MiB")
    return reasons


def _listing(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")} - {"workspace/models"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    print(f"seed {given.seed}, {given.count} attempts, {len(MUTATIONS)} kinds")
    folder = Path(tempfile.mkdtemp(prefix="untrusted-models-"))
    start = time.monotonic()
    try:
        reasons = campaign(given.count, given.seed, folder)
    except Failure as failure:
        print(f"FAILED: {failure}")
        return 1
    shutil.rmtree(folder)
    for kind, found in reasons.items():
        refused = [r for r in found if r is not None]
        example = min(refused, key=len)[:90] if refused else ""
        print(f"{kind:40} refused {len(refused):4}  same weights {len(found) - len(refused):4}  e.g. {example}")
    total = sum(len(found) for found in reasons.values())
    loaded = sum(r is None for found in reasons.values() for r in found)
    print(
        f"{total} attempts: {total - loaded} refused with the reason, {loaded} loaded with the very weights, "
        f"0 executed or written elsewhere; {time.monotonic() - start:.0f} s, "
        f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
