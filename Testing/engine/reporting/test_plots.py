"""Figures and overlays on slices."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
import SimpleITK as sitk

from hssl.reporting import plots
from hssl.workspace.catalogue import LabelClass

CLASSES = [LabelClass(value=1, name="a"), LabelClass(value=2, name="b")]


def volume(spacing=(1.0, 1.0, 4.0)):
    """A 20×16×6 volume with one class in slice 4, at the front left corner of the patient."""
    image = np.tile(np.linspace(0, 100, 20), (6, 16, 1))
    label = np.zeros((6, 16, 20), np.uint8)
    label[4, 2:6, 12:18] = 1
    images = [sitk.GetImageFromArray(a) for a in (image, label)]
    for i in images:
        i.SetSpacing(spacing)
    return images


def test_the_slice_with_most_of_the_reference_is_shown_and_tinted_only_there():
    image, label = volume()
    view = plots.SliceView(image, label, zoom=False)
    rgb = view.overlaid(label, CLASSES)
    assert view.gray.shape == (16, 20) and view.aspect == 1
    changed = np.any(rgb != view.overlaid(None, CLASSES), axis=2)
    finer = np.kron(sitk.GetArrayFromImage(label)[4] == 1, np.ones((20, 20), bool))
    assert changed.shape == finer.shape
    assert not changed[~finer].any()  # smooth corners may be cut, nothing is added
    assert changed.sum() > 0.97 * finer.sum()


@pytest.mark.parametrize("axes", ["RAS", "PIR", "LPI"])
def test_how_the_axes_are_stored_does_not_change_the_picture(axes):
    image, label = volume()
    expected = plots.SliceView(image, label).overlaid(label, CLASSES)
    image, label = (sitk.DICOMOrient(i, axes) for i in (image, label))
    assert np.allclose(plots.SliceView(image, label).overlaid(label, CLASSES), expected)


def test_a_sagittal_stack_is_shown_with_the_head_above():
    # Slices lie 4 mm apart along x; values grow to the head.
    array = np.broadcast_to(np.arange(12.0)[:, None, None], (12, 10, 5)).copy()
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((4.0, 1.0, 1.0))
    gray = plots.SliceView(image).gray
    assert gray.shape == (12, 10) and gray[0, 0] > gray[-1, 0]


def test_zoom_keeps_the_whole_reference_in_view():
    image, label = volume()
    near, far = plots.SliceView(image, label), plots.SliceView(image, label, zoom=False)
    assert near.gray.shape == (10, 10)
    shares = [
        np.any(view.overlaid(label, CLASSES) != view.overlaid(None, CLASSES), axis=2).mean() * view.gray.size
        for view in (near, far)
    ]
    assert shares == pytest.approx([24, 24], rel=0.03)


def test_ct_is_shown_in_a_soft_tissue_window():
    image = sitk.GetImageFromArray(np.array([[[-1000.0, -160, 40, 240, 3000]]]))
    assert plots.SliceView(image, modality="CT").gray.ravel().tolist() == [0, 0, 0.5, 1, 1]


def test_smoothing_keeps_the_length_and_a_constant():
    assert plots.smoothed([2.0] * 50).tolist() == [2.0] * 50
    assert len(plots.smoothed([1.0])) == 1
    noisy = np.random.default_rng(0).random(200)
    assert plots.smoothed(noisy).std() < 0.5 * noisy.std()


def test_curves_hold_what_was_measured():
    rows = [{"step": 5.0, "total": 2.0}, {"step": 10.0}, {"step": 15.0, "total": 1.0}]
    axes = plots.loss_curves(rows, ["total"]).axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[5, 2], [15, 1]]


def test_dice_against_labels_has_a_line_for_each_start_through_the_means():
    rows = [
        {"start": s, "case_count": n, "dice": d}
        for s, n, d in (("pretrained", 1, 0.6), ("pretrained", 1, 0.8), ("pretrained", 5, 0.9), ("scratch", 5, 0.7))
    ]
    lines = {line.get_label(): line for line in plots.dice_against_labels(rows).axes[0].lines}
    assert np.allclose(lines["pretrained"].get_ydata(), [0.7, 0.9]) and np.allclose(lines["scratch"].get_ydata(), [0.7])


def test_a_training_none_of_whose_test_cases_has_a_class_is_no_point_of_the_curve():
    rows = [{"start": s, "case_count": n, "dice": d} for s, n, d in (("scratch", 1, None), ("scratch", 5, 0.7))]
    axes = plots.dice_against_labels([*rows, {"start": "pretrained", "case_count": 1, "dice": None}]).axes[0]
    assert [(line.get_label(), line.get_xydata().tolist()) for line in axes.lines] == [
        ("scratch", [[1 - 0.03, 0.7]]),
        ("pretrained", []),
    ]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "5"]


def test_a_name_with_dollars_is_no_formula():
    figure = plots.dice_by_class({"out": [{"case": "x", "class_name": r"$\nothing$ known", "dice": 0.5}]})
    figure.savefig(io.BytesIO(), format="png")


@pytest.mark.parametrize("count", [1, 20, 117])
def test_a_hundred_classes_go_down_the_page_and_every_name_is_within_it(count):
    rows = [
        {"case": "x", "class_name": f"{n} a name that somebody wrote with side, level and more", "dice": 0.5}
        for n in range(count)
    ]
    figure = plots.dice_by_class({"pretrained": rows, "scratch": rows})
    figure.draw_without_rendering()
    axes = figure.axes[0]
    ends = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert figure.get_figwidth() < 8 and min(end.x0 for end in ends) >= 0
    assert len({end.y0 for end in ends}) == count
    assert all(not a.overlaps(b) for a, b in pairwise(ends))


@pytest.mark.parametrize(
    "starts", [["a_long_name_of_a_folder_of_predictions_" * 4], ["scratch", "pretrained", "x " * 50]]
)
def test_the_legend_lies_within_the_figure_and_leaves_room_for_the_plot(starts):
    figure = plots.dice_by_class({start: [{"case": "x", "class_name": "liver", "dice": 0.5}] for start in starts})
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    assert legend.x0 >= 0 and legend.x1 <= figure.bbox.width and legend.y1 <= figure.bbox.height
    assert figure.axes[0].bbox.height > figure.bbox.height / 4


def test_starts_keep_their_colours_in_every_figure_and_further_ones_get_others():
    with plots.style() as light, plots.style(dark=True) as dark:
        assert light["scratch"] != dark["scratch"]
    others = ["mae", "simclr"]
    colors = {plots.color_of(start, light, others) for start in ("scratch", "pretrained", *others)}
    assert len(colors) == 4


def test_a_case_that_one_start_did_not_measure_is_left_out_of_its_column():
    measured = {
        "scratch": [{"case": "x", "class_name": "a", "dice": None}],
        "pretrained": [{"case": "x", "class_name": "a", "dice": 0.5}],
    }
    figure = plots.dice_by_class(measured)
    assert [len(c.get_offsets()) for c in figure.axes[0].collections[:2]] == [0, 1]
