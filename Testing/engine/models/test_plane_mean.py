"""The mean of slice planes: what it is the mean of, in slabs, and what it leaves behind."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from hssl.configuration import NetworkConfig
from hssl.errors import OutputError
from hssl.events import Stopped
from hssl.models.description import ModelDescription
from hssl.models.inference import Segmenter
from hssl.models.network import build_network
from hssl.models.plane_mean import plane_mean, slices_in_planes
from hssl.preprocessing.fingerprint import Fingerprint
from hssl.preprocessing.grid import slices_first
from hssl.preprocessing.planes import slices_along
from hssl.workspace.catalogue import LabelClass, Task

SHAPE = (12, 20, 33)


@pytest.fixture(scope="module")
def model() -> tuple[ModelDescription, dict[str, torch.Tensor]]:
    task = Task(name="task", modality="MR", classes=[LabelClass(value=4, name="a"), LabelClass(value=7, name="b")])
    print_ = Fingerprint(spacing=(1, 1, 1), slice_axis=0, normalisation="percentiles", median_size=SHAPE)
    description = ModelDescription(
        kind="segmentation", name="model", network=NetworkConfig(), patch_size=(32, 32), tasks=[task],
        fingerprints={"task": print_}, out_channels=3, planes={"task": (0, 1, 2)},
    )  # fmt: skip
    torch.manual_seed(0)
    return description, build_network(description.network, 3).state_dict()


@pytest.fixture
def array() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(SHAPE).astype(np.float16)


def test_it_is_the_mean_of_the_planes_whatever_slabs_are_asked_for(model, array):
    segmenter = Segmenter(*model, torch.device("cpu"))
    alone = []
    for axis in segmenter.planes:
        found = segmenter.probabilities(slices_along(array, axis), -3.0, 0, SHAPE[axis])
        alone.append(torch.movedim(found, 1, 1 + axis))
    told: list[int] = []
    with plane_mean(segmenter, array, -3.0, tell=told.append) as of_slices:
        slabs = torch.cat([of_slices(0, 5), of_slices(5, 6), of_slices(6, 12)], 1)
    assert torch.allclose(slabs, torch.stack(alone).mean(0), atol=5e-3)
    assert torch.allclose(slabs.sum(0), torch.ones(SHAPE), atol=5e-3)
    assert not torch.allclose(slabs, alone[0], atol=5e-3)
    assert told == sorted(told) and told[-1] == slices_in_planes(segmenter, SHAPE) == sum(SHAPE)


def test_fast_is_the_first_plane_alone_as_in_models_of_before(model, array):
    description, state = model
    fast = Segmenter(description, state, torch.device("cpu"), fast=True)
    old = Segmenter(description.model_copy(update={"planes": {}}), state, torch.device("cpu"))
    expected = fast.probabilities(array, -3.0, 2, 9)
    for segmenter in (fast, old):
        with plane_mean(segmenter, array, -3.0) as of_slices:
            assert torch.equal(of_slices(2, 9), expected)
        assert slices_in_planes(segmenter, SHAPE) == SHAPE[0]


def test_a_stop_is_heard_and_a_full_disk_is_told(model, array, monkeypatch):
    segmenter = Segmenter(*model, torch.device("cpu"), batch_size=2)
    asked = []
    with pytest.raises(Stopped), plane_mean(segmenter, array, -3.0, stop=lambda: asked.append(1) or len(asked) > 3):
        pass
    whole = tempfile.TemporaryFile

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, content):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: Full(whole()))
    with pytest.raises(OutputError, match="No space left") as told, plane_mean(segmenter, array, -3.0):
        pass
    assert told.value.path == Path(tempfile.gettempdir())


@pytest.mark.parametrize("planes", [{"other": (0, 1)}, {"task": (1, 2)}, {"task": (0, 2, 1)}, {"task": (0, 3)}])
def test_planes_that_are_none_are_refused(model, planes):
    with pytest.raises(ValueError, match="planes of"):
        ModelDescription.model_validate({**model[0].model_dump(), "planes": planes})


def test_only_classes_of_the_model_are_one_piece(model):
    values = model[0].model_dump()
    assert ModelDescription.model_validate({**values, "one_piece": [7]}).one_piece_channels == [2]
    with pytest.raises(ValueError, match="one_piece"):
        ModelDescription.model_validate({**values, "one_piece": [1]})


@pytest.mark.parametrize("slice_axis", [0, 1, 2])
def test_with_flips_the_left_is_found_as_the_right_is_in_every_plane(model, slice_axis):
    description, state = model
    print_ = description.fingerprints["task"].model_copy(update={"slice_axis": slice_axis})
    description = description.model_copy(update={"mirrored": True, "fingerprints": {"task": print_}})
    segmenter = Segmenter(description, state, torch.device("cpu"), flips=True)
    array = np.random.default_rng(0).standard_normal((12, 20, 34)).astype(np.float16)
    x = slices_first(slice_axis).index(2)
    found = []
    for volume in (array, np.flip(array, x).copy()):
        with plane_mean(segmenter, volume, -3.0) as of_slices:
            found.append(of_slices(0, len(volume)))
    assert torch.allclose(found[0].flip(1 + x), found[1], atol=5e-3)
    assert not torch.allclose(found[0], found[1], atol=5e-2)
