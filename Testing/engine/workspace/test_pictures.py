"""Pictures of what is in doubt: the right slice in grey, with the mask's border on it."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import binary_erosion

from hssl.imaging.volumes import write_volume
from hssl.workspace.candidates import Candidate
from hssl.workspace.pictures import LARGEST, OUTLINE, picture_of

SHAPE = (5, 24, 30)
MASK = np.zeros(SHAPE, bool)
MASK[1, 4:9, 5:9] = True
MASK[3, 2:20, 3:25] = True
MASK[3, 8:11, 8:12] = False


def written(path: Path, values: np.ndarray) -> Candidate:
    write_volume(sitk.GetImageFromArray(values), path)
    return Candidate(str(path))


def pixels(text: str) -> np.ndarray:
    return np.rint(255 * matplotlib.image.imread(io.BytesIO(base64.b64decode(text)))[..., :3]).astype(int)


def scan(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)


def test_a_mask_is_the_outline_on_the_slice_that_has_most_of_it(tmp_path):
    values = scan()
    image = written(tmp_path / "image.nii", values)
    shown = pixels(picture_of(written(tmp_path / "mask.nii", MASK.astype(np.uint8)), image.image))
    border = MASK[3] & ~binary_erosion(MASK[3])
    assert (shown == OUTLINE).all(-1)[border].all() and not (shown == OUTLINE).all(-1)[~border].any()
    low, high = np.percentile(values[3], (1, 99))
    expected = 255 * np.clip((values[3] - low) / (high - low), 0, 1)
    assert np.abs(shown - expected[..., None])[~border].max() <= 1


def test_what_is_no_mask_of_anything_is_shown_by_its_middle_slice(tmp_path):
    values = scan()
    shown = pixels(picture_of(written(tmp_path / "a.nii", values)))
    same = [np.corrcoef(shown[..., 0].ravel(), plane.ravel())[0, 1] for plane in values]
    assert shown.shape == (*SHAPE[1:], 3) and int(np.argmax(same)) == 2 and max(same) > 0.99


def test_a_mask_of_another_size_is_drawn_on_itself(tmp_path):
    image = written(tmp_path / "image.nii", scan((4, 9, 9)))
    shown = pixels(picture_of(written(tmp_path / "mask.nii", MASK.astype(np.uint8)), image.image))
    assert shown.shape == (*SHAPE[1:], 3)
    assert (shown[0, 0] == 0).all() and (shown[5, 5] == 255).all()


@pytest.mark.parametrize(("length", "shown"), [(LARGEST, LARGEST), (LARGEST + 1, 65), (1000, 125)])
def test_a_large_slice_is_made_small(tmp_path, length, shown):
    assert pixels(picture_of(written(tmp_path / "a.nii", scan((3, 8, length))))).shape[1] == shown


def test_an_even_slice_is_dark_and_a_file_that_cannot_be_read_has_no_picture(tmp_path):
    assert not pixels(picture_of(written(tmp_path / "even.nii", np.full(SHAPE, 7, np.int16)))).any()
    (tmp_path / "torn.nii").write_bytes(b"torn")
    assert picture_of(Candidate(str(tmp_path / "torn.nii"))) == ""
