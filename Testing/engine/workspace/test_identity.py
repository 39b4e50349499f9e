"""What tells files apart without reading them whole."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from hssl.workspace.identity import content_of, voxels_in


@pytest.mark.parametrize("size", [1000, 128 * 1024, 128 * 1024 + 1, 5_000_000])
def test_the_first_the_last_and_the_middle_bytes_of_a_file_are_its_content(tmp_path, size):
    path = tmp_path / "a.nii"
    content = bytearray(np.random.default_rng(size).bytes(size))
    path.write_bytes(content)
    found = {content_of([path])}
    for place in (0, size // 7, size - 1):
        content[place] ^= 1
        path.write_bytes(content)
        found.add(content_of([path]))
        content[place] ^= 1
    path.write_bytes(content + b"0")
    found.add(content_of([path]))
    path.write_bytes(content)
    assert len(found) == 5 and content_of([path]) in found


def test_voxels_are_the_same_in_any_order_of_the_axes_and_of_any_type_but_not_mirrored_or_with_one_other_value():
    values = np.random.default_rng(0).integers(-5, 5, (6, 7, 8)).astype(np.int16)
    image = sitk.GetImageFromArray(values)
    same = [
        sitk.Flip(image, [True, False, True]),
        sitk.PermuteAxes(image, [2, 0, 1]),
        sitk.Cast(image, sitk.sitkFloat64),
    ]
    same.append(sitk.GetImageFromArray(np.where(values == 0, np.float32(-0.0), values)))
    turned = sitk.GetImageFromArray(values)
    turned.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    same.append(turned)  # as another program has written its header
    own = set(voxels_in(image).split())
    assert all(own & {*voxels_in(one).split()} for one in same)
    others = []
    for number, place in enumerate(((0, 0, 0), (3, 2, 1), (5, 6, 7))):
        other = values.copy()
        other[place] = 10 + number
        others.append(sitk.GetImageFromArray(other))
    others.append(sitk.GetImageFromArray(values.reshape(6, 8, 7)[:, ::2]))
    others.append(sitk.GetImageFromArray(values.reshape(12, 7, 4)))
    others.append(sitk.GetImageFromArray(values[:, :, ::-1]))
    found = [key for one in (image, *others) for key in voxels_in(one).split()]
    assert len(set(found)) == len(found) == 14
    mirrored = sitk.GetImageFromArray(values[:, ::-1, ::-1])
    mirrored.CopyInformation(turned)
    assert not {*voxels_in(turned).split()} & {*voxels_in(mirrored).split()}
