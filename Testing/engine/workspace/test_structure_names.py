"""When the labels of images are masks of different structures, and not several readings of the same."""

from __future__ import annotations

import pytest

from hssl.workspace.structure_names import are_structures


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([["liver", "spleen"]], True),
        ([["liver", "spleen"], ["Liver", "spleen"]], True),
        ([["liver", "spleen"], ["liver", "aorta"]], False),  # one of three stands at both
        ([["liver", "spleen"], ["liver", "spleen"], ["liver", "aorta"]], True),
        ([["liver"], ["spleen"], ["aorta"]], False),
        ([["liver", "spleen"], ["aorta", "heart"], ["lung", "vein"], ["liver"]], False),
        ([["lesion1", "lesion2"]], False),
        ([["liver", "Liver"]], False),
        ([["liver", ""]], False),
        ([["rater1", "liver"]], False),
        ([["liver", "v2"], ["liver", "v2"]], False),
    ],
)
def test_most_names_stand_at_several_images_and_each_once_at_one(names, expected):
    assert are_structures({str(number): of_image for number, of_image in enumerate(names)}) is expected
