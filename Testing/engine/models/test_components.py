"""Connected components: which classes are one piece, and what is kept of them."""

from __future__ import annotations

import numpy as np

from hssl.models.components import largest_components, one_piece, touching


def test_only_the_largest_component_stays():
    channels = np.zeros((6, 6, 12), np.uint8)
    channels[1:3, 1:3, 1:3] = 1
    channels[1:5, 1:5, 6:9] = 1
    channels[0, 0, 11] = 2
    kept = largest_components(channels, (1, 2))
    assert (kept == 1).sum() == 4 * 4 * 3 and (kept == 2).sum() == 1
    assert not kept[1:3, 1:3, 1:3].any()


def test_pieces_that_compare_with_the_largest_stay_where_islands_alone_are_to_go():
    channels = np.zeros((4, 4, 20), np.uint8)
    channels[:, :, 0:6], channels[:, :, 8:11], channels[:3, :, 13:16] = 1, 1, 1
    kept = largest_components(channels, [1], 0.5)
    assert np.array_equal(kept[..., :12], channels[..., :12]) and not kept[..., 12:].any()


def test_classes_that_are_not_named_keep_their_pieces():
    channels = np.zeros((4, 4, 9), np.uint8)
    channels[:, :, 0], channels[:2, :, 3] = 1, 1
    channels[:, :, 5], channels[:2, :, 8] = 2, 2
    kept = largest_components(channels, [2])
    assert np.array_equal(kept == 1, channels == 1)
    assert (kept == 2).sum() == 16


def test_a_class_is_one_piece_where_nearly_all_labels_are():
    whole = np.zeros((8, 8, 8), bool)
    whole[1:6, 1:6, 1:6] = True
    crumb, broken = whole.copy(), whole.copy()
    crumb[7, 7, 7] = True
    broken[7, :, :] = True
    nothing = np.zeros_like(whole)
    assert one_piece([whole, crumb, nothing])
    assert not one_piece([whole, broken])
    assert one_piece([whole] * 19 + [broken])
    assert not one_piece([nothing]) and not one_piece([])


def test_pieces_that_hold_something_known_are_told_from_those_that_do_not():
    mask, known = np.zeros((5, 9, 9), bool), np.zeros((5, 9, 9), bool)
    mask[1:3, 1:3, 1:3], mask[1:4, 5:8, 5:8], mask[3, 3, 3] = True, True, True
    known[1, 1, 1] = known[4, 8, 0] = True
    found = touching(mask, known)
    # The voxel touches the first piece by a corner, and what is known outside of the mask adds nothing.
    assert found.sum() == 9 and found[3, 3, 3] and not found[1:4, 5:8, 5:8].any()
    assert not touching(np.zeros_like(mask), known).any()
