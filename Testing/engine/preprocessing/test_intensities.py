"""Normalisation of odd images: floors are shares of the image's own range, and what shows nothing is named."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk

from hssl.errors import InputError
from hssl.imaging.intensities import check_hounsfield, own_range
from hssl.imaging.volumes import check_values
from hssl.preprocessing.fingerprint import Fingerprint
from hssl.preprocessing.normalisation import (
    LUNG_RANGE,
    VolumeMeasure,
    body_mask,
    fingerprint_of,
    normalised,
    slice_axis_of,
    volume_measure,
)
from hssl.preprocessing.planes import planes_of
from hssl.preprocessing.working import working_volume
from hssl.reporting import plots

SHAPE = (6, 40, 50)
OWN = Fingerprint(spacing=(1, 1, 1), slice_axis=0, normalisation="percentiles", median_size=SHAPE)
HOUNSFIELD = OWN.model_copy(
    update={"normalisation": "window", "lower": -160.0, "upper": 240.0, "center": 40.0, "scale": 80.0}
)


IDENTITY = np.eye(3)


def scan(seed: int = 0) -> np.ndarray:
    """A body with noise in air."""
    rng = np.random.default_rng(seed)
    array = rng.rayleigh(3, SHAPE).astype(np.float32)
    array[:, 8:32, 10:40] = rng.normal(120, 25, (6, 24, 30))
    return array


def image(array: np.ndarray) -> sitk.Image:
    return sitk.GetImageFromArray(array)


def before(array: np.ndarray) -> np.ndarray:
    """How images were normalised before there were floors: ordinary ones must stay as they were, to the last bit."""
    lower, upper = np.percentile(array.reshape(-1), [0.5, 99.5])
    clipped = np.clip(array.reshape(-1), lower, upper)
    body = clipped[clipped > lower + 0.1 * (upper - lower)]
    return ((np.clip(array, lower, upper) - body.mean()) / max(float(body.std()), 1e-6)).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_ordinary_images_keep_their_values(seed):
    array = scan(seed) * 10.0 ** (seed - 2)
    assert np.array_equal(normalised(array, OWN), before(array))
    found = working_volume(image(array), OWN)
    assert np.array_equal(found.array, before(array).astype(np.float16)) and found.low == found.array.min()


@pytest.mark.parametrize("factor", [1e-300, 1e-40, 1e-12, 1e-9, 1e-3, 1e3, 1e12, 1e30, 1e300])
def test_a_common_factor_means_nothing(factor):
    plain, scaled = working_volume(image(scan()), OWN), working_volume(image(scan().astype(np.float64) * factor), OWN)
    assert np.abs(plain.array - scaled.array).max() < 0.02


@pytest.mark.parametrize("share", [0.2, 0.02, 0.004, 0.001])
def test_what_a_sparse_image_shows_stays(share):
    rng = np.random.default_rng(1)
    array = np.zeros(SHAPE, np.float32)
    there = rng.random(SHAPE) < share
    array[there] = rng.uniform(100, 1000, there.sum())
    found = working_volume(image(array), OWN).array.astype(np.float32)
    assert np.isfinite(found).all() and np.abs(found).max() < 100
    assert np.corrcoef(found[there], array[there])[0, 1] > 0.98, "its values are not flattened"
    assert found[~there].max() < found[there].min(), "the background is told from what is there"


@pytest.mark.parametrize("share", [0.5, 0.05, 0.002])
def test_an_image_of_two_values_has_two_values_of_moderate_size(share):
    array = (np.random.default_rng(2).random(SHAPE) < share).astype(np.uint8) * 255
    found = np.unique(working_volume(image(array), OWN).array)
    assert len(found) == 2 and np.abs(found).max() <= 8


def test_a_single_bright_voxel_does_not_leave_the_range_of_float16():
    array = scan()
    array[3, 3, 3] = 3e38
    assert np.abs(working_volume(image(array), OWN).array).max() < 100


def test_nothing_left_after_normalisation_is_an_error_that_names_the_file():
    mr_in_a_ct_task = scan() / 200 + 300
    with pytest.raises(InputError, match=r"mr\.nii: is empty after normalisation: .* window from -160 to 240"):
        working_volume(image(mr_in_a_ct_task), HOUNSFIELD, "mr.nii")
    lost = np.zeros((64, 64, 64), np.float32)
    lost[::32, ::32, ::32] = 1  # nothing of it lies where the coarse grid looks
    coarse = OWN.model_copy(update={"spacing": (16.0, 16.0, 16.0)})
    try:
        assert np.ptp(working_volume(image(lost), coarse, "lost.nii").array) > 0.05
    except InputError as error:
        assert "lost.nii: is empty after normalisation" in str(error)


@pytest.mark.parametrize("unit", [1.0, 0.02 / 1000])
def test_what_is_called_ct_in_another_unit_has_a_window_of_its_own_range(unit):
    """Linear attenuation coefficients are some 0.02 per mm."""
    array = (scan() * 8 - 500 if unit == 1.0 else scan() * 8 + 1000) * unit
    fingerprint = fingerprint_of([volume_measure(image(array.astype(np.float32)))], "CT")
    assert fingerprint.normalisation == "window"
    found = working_volume(image(array.astype(np.float32)), fingerprint).array.astype(np.float32)
    assert 2 < np.ptp(found) < 100


def test_a_huge_value_in_a_ct_does_not_spoil_the_fingerprint_of_its_task():
    array = scan().astype(np.float64)
    array[0, 0, :5] = 1e300
    assert fingerprint_of([volume_measure(image(array))], "CT").upper < 1e4


def test_a_range_of_one_value_is_none_and_check_names_what_shows_nothing(tmp_path):
    assert own_range(np.full(SHAPE, 7.0)) is None
    array = np.zeros(SHAPE, np.int16)
    array[0, 0, :3] = 9
    with pytest.raises(InputError, match=r"a\.nii: is nearly constant: all but 3 voxels are 0"):
        check_values(image(array), "a.nii")
    array[0] = 9
    check_values(image(array), "a.nii")
    with pytest.raises(InputError, match="all air"):
        check_hounsfield(image(array - 1000), "a.nii")
    check_hounsfield(image(array), "a.nii")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_nan_outside_the_body_is_refused_with_the_way_out_and_becomes_background_on_request(tmp_path, suffix):
    from hssl.configuration import AddConfig
    from hssl.jobs.add import add
    from hssl.workspace.catalogue import Catalogue
    from hssl.workspace.images import read_image

    array = scan() - 50  # zero, which ITK puts in place of NaN in NIfTI files, is no background here
    array[:, :8] = np.nan
    (tmp_path / "maps").mkdir()
    sitk.WriteImage(image(array), str(tmp_path / "maps" / f"a{suffix}"))
    sitk.WriteImage(image(scan(1)), str(tmp_path / "maps" / "b.nii"))
    with pytest.raises(InputError, match="has voxels that are NaN") as caught:
        check_values(image(array), "a.nii")
    assert caught.value.way_out == "nan_is_background"
    # In a new workspace, and in the one that has refused it before.
    for name, nan_is_background in (("refused", False), ("new", True), ("refused", True)):
        workspace = tmp_path / name
        if not workspace.exists():
            Catalogue.create(workspace)
        add(
            AddConfig(
                workspace=workspace, source=tmp_path / "maps", task="t", check=True, nan_is_background=nan_is_background
            )
        )
        catalogue = Catalogue.load(workspace)
        assert len(catalogue.usable("t")) == 1 + nan_is_background
        if nan_is_background:
            volume = read_image(catalogue, catalogue.image("a"))
            found = working_volume(volume, OWN).array
            assert np.isfinite(found).all() and (found[:, :8] == found.min()).all()
            assert np.array_equal(sitk.GetArrayFromImage(volume)[:, 8:], array[:, 8:])
            assert (sitk.GetArrayFromImage(volume)[:, :8] == np.nanmin(array)).all()


def ct_of(values) -> Fingerprint:
    return fingerprint_of([volume_measure(image(np.asarray(values, np.float32).reshape(1, 1, -1)))], "CT")


def test_the_window_of_a_task_is_that_of_its_bodies_between_the_half_percentiles():
    found = ct_of(np.linspace(-499, 501, 10_001))
    assert (found.lower, found.upper, found.center) == (-494.0, 496.0, 1.0)
    clipped = np.clip(np.linspace(-499, 501, 10_001), -494, 496)
    assert found.scale == pytest.approx(round(float(clipped.std()), 2))
    # Air is no body, and -500 HU is air; a volume of nothing else is measured all the same.
    assert ct_of([*np.linspace(-499, 501, 10_001), *[-500.0] * 4000, *[-1000.0] * 4000]) == found.model_copy(
        update={"median_size": (1, 1, 18_001)}
    )
    assert (ct_of([-1000.0] * 50 + [-900.0] * 50).lower, ct_of([-1000.0] * 50 + [-900.0] * 50).upper) == (-1000, -900)


@pytest.mark.parametrize(("high", "hounsfield"), [(20.0, True), (19.9, False)])
def test_less_than_twenty_hounsfield_units_are_another_unit(high, hounsfield):
    found = ct_of([0.0] * 500 + [high] * 500)
    assert (found.lower, found.upper) == (0, pytest.approx(high))
    assert (found.center == high / 2) == hounsfield, "a range of its own is measured where the body is"


def test_a_ct_of_one_value_has_a_window_that_can_be_used():
    found = ct_of([7.25] * 30)
    assert (found.lower, found.upper, found.center, found.scale) == (7.25, 8.25, 7.25, 1.0)


def test_values_of_a_volume_are_drawn_by_its_seed_and_bounded():
    values = image(np.arange(3000, dtype=np.float32).reshape(10, 10, 30))
    one, same, other = (volume_measure(values, seed, 100) for seed in (0, 0, 1))
    assert len(one.body) == 100 and np.array_equal(one.body, same.body) and not np.array_equal(one.body, other.body)
    assert sorted(volume_measure(values * 1e3).body) == [1e3 * n for n in range(1000)] + [1e6] * 2000


def measure(size, spacing, direction=IDENTITY):
    """Of a volume whose size and spacing are given along z, y, x."""
    return VolumeMeasure(tuple(size)[::-1], tuple(spacing)[::-1], tuple(np.ravel(direction)), np.array([]))


def test_a_fingerprint_is_the_median_of_the_volumes_on_its_grid():
    sizes = [(10, 20, 30), (12, 20, 30), (14, 20, 1)]
    spacings = [(1.0, 1.0, 2.0), (2.0, 0.123456789, 2.0), (4.0, 1.0, 9.0)]
    found = fingerprint_of([measure(s, p) for s, p in zip(sizes, spacings, strict=True)], "MR")
    assert found.spacing == (2.0, 1.0, 2.0)
    assert found.median_size == (12, 20, 30)  # of 5, 12 and 28; 20, 2 and 20; 30, 30 and 4
    thin = fingerprint_of([measure((1, 9, 9), (0.1234567, 1.0, 1.0))], "MR")
    assert (thin.spacing[0], thin.median_size[0]) == (0.12346, 1)


@pytest.mark.parametrize(
    ("spacing", "axis"),
    [((1, 1.25, 1), 1), ((1, 1.2499, 1), 0), ((1, 1, 1.25), 2), ((1.2, 1.4, 1), 1), ((2, 1, 2), 0), ((1, 3, 3), 1)],
)
def test_slices_lie_along_the_coarsest_axis_from_a_quarter_on(spacing, axis):
    assert slice_axis_of(spacing, (9, 9, 9)) == axis


@pytest.mark.parametrize("flat", [0, 1, 2])
@pytest.mark.parametrize("thickness", [0.1, 1.0, 30.0])
def test_the_only_slice_of_an_image_is_its_slice_whatever_its_thickness(flat, thickness):
    """Of pictures with pixels of 2 mm that some program had given a thickness of 1 mm, lines were learned."""
    size, spacing = [96, 80, 90], [2.0, 2.0, 2.0]
    size[flat], spacing[flat] = 1, thickness
    found = fingerprint_of([measure(size, spacing)], "MR")
    assert found.slice_axis == flat and planes_of(found, 2, "all") == (0,)
    pixels = np.random.default_rng(0).normal(size=size).astype(np.float32)
    image = sitk.GetImageFromArray(pixels)
    image.SetSpacing(spacing[::-1])
    assert plots.SliceView(image).gray.shape == tuple(n for n in size if n > 1)


def test_a_body_begins_above_a_tenth_of_the_range():
    assert body_mask(np.array([-5.0, -4.0, -3.99, 5.0])).tolist() == [False, False, True, True]


@pytest.mark.parametrize(("others", "sparse"), [(199, True), (200, False), (201, False)])
def test_a_range_is_that_of_the_others_where_one_value_has_more_than_98_percent(others, sparse):
    array = np.zeros(10_000)
    array[:others] = np.linspace(100, 299, others)
    found = own_range(array)
    plain = np.percentile(array, 99.5)
    assert (found.upper == pytest.approx(np.percentile(array[:others], 99.5))) == sparse
    assert (found.upper == plain) != sparse
    assert found.lower == 0


@pytest.mark.parametrize(("high", "air"), [(-500, True), (-499, False)])
def test_air_ends_at_minus_500(high, air):
    array = np.linspace(-1000, high, 600).reshape(6, 10, 10)
    if air:
        with pytest.raises(InputError, match="all air as a CT: its highest value is -500 HU"):
            check_hounsfield(image(array), "a.nii")
    else:
        check_hounsfield(image(array), "a.nii")


AIRWAY, LUNG, GROUND_GLASS, HEART, PADDING = -990, -850, -650, 60, -3024


def chest(radius: float = 14.0) -> np.ndarray:
    """A CT of a body with two lungs of some radius, and of its field of view, which the scanner has padded."""
    z, y, x = np.indices((6, 80, 80))
    from_middle = np.hypot(y - 40, x - 40)
    array = np.where(from_middle < 35, HEART, -1000.0)
    for middle in (24, 56):
        away = np.hypot(y - 40, x - middle)
        array[away < radius] = LUNG
        array[away < radius / 2] = GROUND_GLASS
        array[away < radius / 5] = AIRWAY
    array += np.random.default_rng(0).normal(0, 10, array.shape)
    array[from_middle > 39] = PADDING
    return array.astype(np.int16)


@pytest.mark.parametrize("axes", ["LPS", "SRA"])
def test_what_lies_in_lungs_can_be_seen_where_they_are_a_large_part_of_a_ct(axes):
    """All below -470 HU was one value: lungs, airways, ground glass, and the air outside."""
    array = chest()
    volume = sitk.DICOMOrient(image(array), axes)
    own = fingerprint_of([volume_measure(volume)], "CT")
    assert own.lungs is not None and AIRWAY - 40 < own.lungs < AIRWAY + 20
    found = sitk.GetImageFromArray(normalised(sitk.GetArrayFromImage(volume).astype(np.float32), own))
    found.CopyInformation(volume)
    found = sitk.GetArrayFromImage(sitk.DICOMOrient(found, "LPS"))
    means = [float(found[np.abs(array - value) < 25].mean()) for value in (AIRWAY, LUNG, GROUND_GLASS, HEART)]
    assert all(b - a > 0.2 for a, b in itertools.pairwise(means))
    assert (found[array == PADDING] == found.min()).all()
    assert found.min() == pytest.approx((own.lower - own.center) / own.scale - LUNG_RANGE)
    without = normalised(array.astype(np.float32), own.model_copy(update={"lungs": None}))
    assert np.allclose(found[array > own.lower], without[array > own.lower])


def test_a_little_air_in_a_body_leaves_its_window_as_it_was():
    measures = [volume_measure(image(chest(radius))) for radius in (4.0, 14.0)]
    assert [m.lung_share < 0.1 for m in measures] == [True, False]
    assert fingerprint_of(measures[:1], "CT").lungs is None
    assert fingerprint_of(measures, "CT").lungs is not None
    assert fingerprint_of(measures, "MR").lungs is None


@pytest.mark.parametrize("padding", [-3024, -2000, -32768])
def test_what_a_field_of_view_is_padded_with_is_no_part_of_a_range(padding):
    """With -3024 beyond a CT's field of view all air in it was body, and contrasts were half as large."""
    array = chest().astype(np.float32)
    inside = array > PADDING
    own, padded = own_range(array[inside]), own_range(np.where(inside, array, padding))
    assert np.allclose(own, padded, rtol=1e-3)
    # What lies far below, and is not below 0, is background that was measured or masked.
    assert own_range(np.where(inside, array + 3000, 0)).lower == 0
    assert own_range(np.array([-5.0] * 99 + [1.0])) is not None


def emission(unit: float = 1.0) -> np.ndarray:
    """Air, a body of about 1, an organ of 3, and in each of two thousandths of the voxels a lesion of 8 or 16."""
    rng = np.random.default_rng(0)
    array = rng.uniform(0, 0.05, 200_000)
    array[:40_000] = rng.normal(1, 0.1, 40_000)
    array[40_000:41_000] = rng.normal(3, 0.2, 1000)
    array[41_000:41_200], array[41_200:41_400] = 8, 16
    return (unit * array.reshape(20, 100, 100)).astype(np.float32)


@pytest.mark.parametrize("unit", [1.0, 3700.0, 1e-20])
def test_what_is_far_brighter_than_an_images_range_is_told_from_each_other(unit):
    """All above 99.5 % of the voxels of a PET, its liver and its lesions, was one value."""
    measure = volume_measure(image(emission(unit)))
    own = fingerprint_of([measure], "PT")
    assert own.tails and not fingerprint_of([measure], "CT").tails
    found = working_volume(image(emission(unit)), own).array.ravel().astype(float)
    clipped = working_volume(image(emission(unit)), own.model_copy(update={"tails": False})).array.ravel().astype(float)
    extent = np.ptp(clipped)
    body, organ, lesion, hot = found[:40_000], found[40_000:41_000], found[41_000:41_200], found[41_200:41_400]
    assert np.allclose(body, clipped[:40_000])
    assert clipped[41_000:41_400].std() == 0 and clipped[40_000:41_000].max() == clipped[41_000]
    assert lesion.min() - organ.max() > 0.5 * extent and hot.min() - lesion.max() > 0.3 * extent
    failed = emission(unit)
    failed[-1, -1, :30] = 1e5 * unit  # a fit that failed
    assert working_volume(image(failed), own).array.max() < clipped.max() + 3.2 * extent
    assert body_mask(found, own.tails)[:40_000].all()


def test_a_task_most_of_whose_images_have_no_tail_has_none():
    plain, bright = (volume_measure(image(array)) for array in (scan(), emission()))
    assert plain.tail < 2
    assert not fingerprint_of([plain, plain, bright], "MR").tails
    assert fingerprint_of([plain, bright, bright], "MR").tails
