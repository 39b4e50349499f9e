"""The description of a model refuses what could not be used, before any weight is read."""

import pytest
from pydantic import ValidationError

from hssl.models.description import ModelDescription
from hssl.preprocessing.fingerprint import Fingerprint

PERCENTILES = {
    "spacing": (1.0, 1.0, 1.0),
    "slice_axis": 0,
    "normalisation": "percentiles",
    "median_size": (8, 32, 32),
}
WINDOW = PERCENTILES | {"normalisation": "window", "lower": -100.0, "upper": 300.0, "center": 40.0, "scale": 90.0}
SEGMENTATION = {
    "kind": "segmentation",
    "name": "spleen",
    "network": {},
    "patch_size": (32, 32),
    "tasks": [{"name": "spleen", "modality": "CT", "classes": [{"value": 1, "name": "spleen"}]}],
    "fingerprints": {"spleen": WINDOW},
    "out_channels": 2,
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"spacing": (0.0, 1.0, 1.0)}, "greater than 0"),
        ({"spacing": (float("inf"), 1.0, 1.0)}, "finite"),
        ({"spacing": (1.0, 1.0)}, "spacing"),
        ({"median_size": (0, 32, 32)}, "greater than 0"),
        ({"slice_axis": 3}, "less than or equal to 2"),
        ({"scale": 0.0}, "scale > 0"),
        ({"lower": 300.0}, "lower < upper"),
        ({"lungs": -100.0}, "lungs lie below the window"),
        ({"center": None}, "needs lower, upper, center and scale"),
        ({"_target_": "os.system"}, "Extra inputs"),
    ],
)
def test_a_fingerprint_that_no_volume_could_be_brought_to_is_refused(change, reason):
    Fingerprint.model_validate(WINDOW)
    with pytest.raises(ValidationError, match=reason):
        Fingerprint.model_validate(WINDOW | change)


def test_percentiles_carry_no_numbers_of_another_image():
    Fingerprint.model_validate(PERCENTILES)
    with pytest.raises(ValidationError, match="must be null"):
        Fingerprint.model_validate(PERCENTILES | {"lower": 0.0})
    with pytest.raises(ValidationError, match="must be null"):
        Fingerprint.model_validate(PERCENTILES | {"lungs": -900.0})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"patch_size": (32, 32, 32)}, "does not fit a 2D network"),
        ({"patch_size": (32, 0)}, "greater than 0"),
        ({"fingerprints": {}}, "one fingerprint"),
        ({"fingerprints": {"liver": WINDOW}}, "one fingerprint"),
        ({"out_channels": 3}, "need 2 channels, got 3"),
        ({"out_channels": 10**30}, "less than or equal to 65536"),
        ({"tasks": SEGMENTATION["tasks"] * 2}, "one fingerprint"),
        ({"kind": "code"}, "pretrained"),
        ({"command": "reboot"}, "Extra inputs"),
    ],
)
def test_a_description_whose_parts_contradict_each_other_is_refused(change, reason):
    ModelDescription.model_validate(SEGMENTATION)
    with pytest.raises(ValidationError, match=reason):
        ModelDescription.model_validate(SEGMENTATION | change)


def test_a_description_survives_json_unchanged():
    description = ModelDescription.model_validate(SEGMENTATION)
    assert ModelDescription.model_validate_json(description.model_dump_json()) == description
