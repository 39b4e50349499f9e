from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from hssl.imaging.contours import Contour, filled


def grid(size=(64, 60, 40), spacing=(1.0, 1.2, 2.0), origin=(-30.0, -35.0, -40.0), tilt=0.0) -> sitk.Image:
    image = sitk.Image(size, sitk.sitkUInt8)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(sitk.VersorTransform((0.3, 0.5, 0.8), tilt).GetMatrix())
    return image


def centres(image: sitk.Image) -> np.ndarray:
    """Physical points of all voxels, z, y, x, 3."""
    z, y, x = np.indices(image.GetSize()[::-1])
    axes = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    return np.stack([x, y, z], -1) @ axes.T + image.GetOrigin()


def circle(image: sitk.Image, z: float, centre, radius: float, points: int = 180) -> Contour:
    """A circle in the image's slices; centre (x, y) in mm along its axes from its origin, z in slices."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    local = np.column_stack(
        [
            centre[0] + radius * np.cos(angle),
            centre[1] + radius * np.sin(angle),
            np.full(points, z * image.GetSpacing()[2]),
        ]
    )
    return Contour(local @ np.array(image.GetDirection()).reshape(3, 3).T + image.GetOrigin())


def local(image: sitk.Image) -> np.ndarray:
    return (centres(image) - image.GetOrigin()) @ np.array(image.GetDirection()).reshape(3, 3)


def volume(mask: np.ndarray, image: sitk.Image) -> float:
    return float(mask.sum() * np.prod(image.GetSpacing()))


def middle(mask: np.ndarray, image: sitk.Image) -> np.ndarray:
    return local(image)[mask].mean(0)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


@pytest.mark.parametrize("tilt", [0.0, 0.4])
@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_ball_has_its_volume_and_its_place(tilt, every):
    image = grid(tilt=tilt)
    centre, radius = np.array([31.0, 36.0, 40.0]), 20.0
    contours = []
    for z in range(0, 40, every):
        r2 = radius**2 - (z * 2.0 - centre[2]) ** 2
        if r2 > 0:
            contours.append(circle(image, z, centre[:2], r2**0.5))
    mask = filled(contours, image)
    truth = np.linalg.norm(local(image) - centre, axis=-1) < radius
    assert volume(mask, image) == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.02 if every == 1 else 0.05)
    np.testing.assert_allclose(middle(mask, image), centre, atol=0.35)
    assert dice(mask, truth) > (0.995 if every == 1 else 0.96)
    if every == 1:
        near = np.abs(np.linalg.norm(local(image) - centre, axis=-1) - radius) < 0.02
        np.testing.assert_array_equal(mask[~near], truth[~near])


@pytest.mark.parametrize("outer_first", [True, False])
def test_a_tube_has_a_hole_whatever_the_order_of_its_contours(outer_first):
    image = grid()
    contours = []
    for z in range(5, 35):
        rings = [circle(image, z, (30, 35), 22), circle(image, z, (32, 35), 9)]
        contours += rings if outer_first else rings[::-1]
    mask = filled(contours, image)
    assert volume(mask, image) == pytest.approx(np.pi * (22**2 - 9**2) * 60, rel=0.01)
    x, y, _ = np.moveaxis(local(image), -1, 0)
    assert not mask[(x - 32) ** 2 + (y - 35) ** 2 < 8.9**2].any()
    assert not mask[:5].any() and not mask[35:].any()


def test_something_solid_in_a_hole_is_solid_and_two_parts_of_a_slice_are_both_there():
    image = grid()
    contours = [circle(image, 7, (30, 35), r) for r in (20, 14, 6)] + [circle(image, 7, (55, 35), 4)]
    expected = np.pi * (20**2 - 14**2 + 6**2 + 4**2) * 2
    assert volume(filled(contours, image), image) == pytest.approx(expected, rel=0.02)


def test_contours_that_cross_are_joined():
    image = grid()
    mask = filled([circle(image, 7, (25, 35), 10), circle(image, 7, (33, 35), 10)], image)
    x, y, _ = np.moveaxis(local(image), -1, 0)
    inside = ((x - 25) ** 2 + (y - 35) ** 2 < 100) | ((x - 33) ** 2 + (y - 35) ** 2 < 100)
    inside &= np.arange(40)[:, None, None] == 7
    assert dice(mask, inside) > 0.99


def test_exclusive_contours_take_away_what_they_share():
    image = grid()
    contours = [circle(image, 7, (25, 35), 10), circle(image, 7, (33, 35), 10)]
    mask = filled([Contour(c.points, True) for c in contours], image)
    x, y, _ = np.moveaxis(local(image), -1, 0)
    assert not mask[7][(((x - 25) ** 2 + (y - 35) ** 2 < 80) & ((x - 33) ** 2 + (y - 35) ** 2 < 80))[7]].any()
    assert mask.any()


def test_a_keyhole_is_a_hole():
    image = grid()
    outer = circle(image, 7, (30, 35), 20).points
    inner = circle(image, 7, (30, 35), 8).points[::-1]
    # In along one line and out along the same, as planning systems write a ring.
    ring = np.vstack([outer, outer[:1], inner[-1:], inner, outer[:1]])
    mask = filled([Contour(ring)], image)
    assert volume(mask, image) == pytest.approx(np.pi * (400 - 64) * 2, rel=0.02)
    assert not mask[7, round(35 / 1.2), 30]


def test_a_ring_torus_has_its_volume_and_its_hole():
    image = grid()
    big, small, centre = 18.0, 7.0, np.array([30.0, 35.0, 40.0])
    contours = []
    for z in range(40):
        half2 = small**2 - (2.0 * z - centre[2]) ** 2
        if half2 > 0:
            contours += [circle(image, z, centre[:2], big + half2**0.5), circle(image, z, centre[:2], big - half2**0.5)]
    mask = filled(contours, image)
    assert volume(mask, image) == pytest.approx(2 * np.pi**2 * big * small**2, rel=0.03)
    np.testing.assert_allclose(middle(mask, image), centre, atol=0.1)
    assert not mask[20, round(35 / 1.2), 30]


def test_contours_between_the_slices_are_interpolated_there():
    image = grid()
    contours = [circle(image, z + 0.5, (30, 35), 5 + z) for z in range(5, 15)]
    mask = filled(contours, image)
    for z in range(6, 15):
        radius = (mask[z].sum() * 1.2 / np.pi) ** 0.5
        assert radius == pytest.approx(5 + z - 0.5, abs=0.5)
    np.testing.assert_allclose(middle(mask, image)[:2], (30, 35), atol=0.1)


def test_coarse_contours_on_fine_slices_keep_their_volume():
    image = grid((64, 60, 60), (1, 1.2, 1), (0, 0, 0))
    contours = [circle(image, z, (30, 35), 15) for z in range(6, 55, 6)]  # nine planes, 6 mm apart: a slab each
    assert volume(filled(contours, image), image) == pytest.approx(np.pi * 225 * 54, rel=0.02)


def test_two_parts_far_apart_are_not_joined():
    image = grid()
    mask = filled([circle(image, z, (30, 35), 10) for z in (*range(3, 9), *range(20, 26))], image)
    assert np.flatnonzero(mask.any((1, 2))).tolist() == [*range(3, 9), *range(20, 26)]


def test_contours_across_the_slices_are_filled_too():
    image = grid()
    centre, radius = np.array([31.0, 36.0, 40.0]), 18.0
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    contours = []
    for x in np.arange(centre[0] - radius + 1, centre[0] + radius, 2.0):  # sagittal contours on axial slices
        r = (radius**2 - (x - centre[0]) ** 2) ** 0.5
        points = np.column_stack([np.full(120, x), centre[1] + r * np.cos(angle), centre[2] + r * np.sin(angle)])
        contours.append(Contour(points + image.GetOrigin()))
    mask = filled(contours, image)
    truth = np.linalg.norm(local(image) - centre, axis=-1) < radius
    assert volume(mask, image) == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.04)
    assert dice(mask, truth) > 0.96
    np.testing.assert_allclose(middle(mask, image), centre, atol=0.4)


def test_a_contour_through_voxel_centres_encloses_them_and_a_repeated_one_is_no_hole():
    image = grid((10, 10, 3), (1, 1, 1), (0, 0, 0))
    square = np.array([[2.0, 3, 1], [6, 3, 1], [6, 7, 1], [2, 7, 1]])
    expected = np.zeros((3, 10, 10), bool)
    expected[1, 3:8, 2:7] = True
    np.testing.assert_array_equal(filled([Contour(square)], image), expected)
    np.testing.assert_array_equal(filled([Contour(square), Contour(square.copy())], image), expected)
    # Written with three decimals, as text.
    np.testing.assert_array_equal(filled([Contour(square + 0.0004)], image), expected)


@pytest.mark.parametrize("tilted", [False, True])
def test_points_far_outside_the_image_take_neither_memory_nor_anything_away(tilted):
    image = grid(tilt=0.4)
    drawn_on = grid(tilt=0.0 if tilted else 0.4)
    near = [circle(drawn_on, z, (31.0, 36.0), 14.0) for z in range(10, 30)]
    expected = filled(near, image)
    assert expected.any()
    along = np.array(drawn_on.GetDirection()).reshape(3, 3)
    for axis in (0, 2):
        beyond = [Contour(c.points + 9e4 * along[:, axis]) for c in near[:2]]
        assert dice(filled([*near, *beyond], image), expected) > (0.97 if tilted else 1 - 1e-9)


@pytest.mark.parametrize("size", [1.0, 40.0, 4e4])
def test_between_two_slices_that_are_full_everything_is(size):
    image = grid()
    corners = np.array([(-size, -size), (80 + size, -size), (80 + size, 80 + size), (-size, 80 + size)])
    planes = [np.column_stack([corners, np.full(4, 2.0 * z)]) + image.GetOrigin() for z in (10, 14)]
    found = filled([Contour(p) for p in planes], image)
    assert found[10:15].all() and found.any((1, 2)).sum() == 7


def test_contours_outside_the_image_and_none_at_all_give_nothing():
    image = grid()
    across = Contour(np.array([[9e3, 0, 0], [9.1e3, 0, 0], [9.1e3, 0, 90], [9e3, 0, 90]]))
    for contours in ([], [circle(image, 100, (30, 35), 10)], [across]):
        nothing = filled(contours, image)
        assert nothing.shape == image.GetSize()[::-1] and nothing.dtype == bool and not nothing.any()
    partly = filled([circle(image, 7, (0, 35), 10)], image)
    assert volume(partly, image) == pytest.approx(np.pi * 50 * 2, rel=0.1)


def test_a_flipped_image_gets_the_same_places():
    image = grid()
    flipped = sitk.Flip(image, (True, False, True))
    contours = [circle(image, z, (20, 30), 8) for z in range(4, 12)]
    np.testing.assert_array_equal(filled(contours, flipped)[::-1, :, ::-1], filled(contours, image))
