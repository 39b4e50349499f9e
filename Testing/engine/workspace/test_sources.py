from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from dicom_files import write_series

from hssl.errors import ConfigurationError, HSSLError, InputError
from hssl.workspace.candidates import Source
from hssl.workspace.catalogue import Catalogue
from hssl.workspace.sources import find


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def pairs(source: Source, root: Path) -> dict[str, str | None]:
    return {
        os.path.relpath(c.image, root): c.label if c.label is None else os.path.relpath(c.label, root)
        for c in source.candidates
    }


def test_a_folder_of_volumes_is_searched_to_its_end(tmp_path):
    touch(
        tmp_path, "a.nii.gz", "Übung 1/b.nrrd", "Übung 1/x/c.mha", "notes.txt", ".hidden/d.nii", "._a.nii.gz", "e.raw"
    )
    assert pairs(find(tmp_path), tmp_path) == {"a.nii.gz": None, "Übung 1/b.nrrd": None, "Übung 1/x/c.mha": None}


def test_folders_named_images_and_labels_are_matched_by_name(tmp_path):
    touch(
        tmp_path, "images/a.nii.gz", "images/b.nii.gz", "labels/a.nii.gz", "labels/z.nii.gz", "images_unlabelled/u.nii"
    )
    source = find(tmp_path)
    assert pairs(source, tmp_path) == {
        "images/a.nii.gz": "labels/a.nii.gz",
        "images/b.nii.gz": None,
        "images_unlabelled/u.nii": None,
    }
    assert [(os.path.basename(p), reason) for p, reason in source.refused] == [
        ("z.nii.gz", "is a label without an image of that name")
    ]


def test_labels_in_a_folder_of_their_own_may_have_another_format(tmp_path):
    touch(tmp_path, "scans/a.nrrd", "truth/a.nii.gz")
    assert pairs(find(tmp_path / "scans", labels=tmp_path / "truth"), tmp_path) == {"scans/a.nrrd": "truth/a.nii.gz"}


def test_a_label_beside_its_image_is_known_by_its_ending(tmp_path):
    touch(tmp_path, "a.nrrd", "a_seg.nrrd", "b.nii.gz", "b-label.nrrd", "c_seg.nrrd", "d.nrrd", "d.seg.nrrd")
    assert pairs(find(tmp_path), tmp_path) == {
        "a.nrrd": "a_seg.nrrd",
        "b.nii.gz": "b-label.nrrd",
        "c_seg.nrrd": None,
        "d.nrrd": "d.seg.nrrd",
    }


def test_patterns_match_image_and_label_and_name_the_case(tmp_path):
    touch(tmp_path, "p1/ct.nii.gz", "p1/seg.nii.gz", "p2/ct.nii.gz", "p3/pet.nii.gz")
    source = find(tmp_path, pattern="{id}/ct.nii.gz", label_pattern="{id}/seg.nii.gz")
    assert pairs(source, tmp_path) == {"p1/ct.nii.gz": "p1/seg.nii.gz", "p2/ct.nii.gz": None}
    assert [c.name for c in source.candidates] == ["p1", "p2"]
    touch(tmp_path, "flat/a_ct.nii.gz", "masks/a_seg_v2.nii.gz")
    source = find(tmp_path / "flat", tmp_path / "masks", "{id}_ct.nii.gz", "{id}_seg*.nii.gz")
    assert pairs(source, tmp_path) == {"flat/a_ct.nii.gz": "masks/a_seg_v2.nii.gz"}


def test_a_pattern_that_fits_nothing_or_has_no_id_is_an_error(tmp_path):
    touch(tmp_path, "a.nii.gz")
    with pytest.raises(InputError, match="fits the pattern"):
        find(tmp_path, pattern="{id}_ct.nii.gz")
    with pytest.raises(ConfigurationError, match="id"):
        find(tmp_path, pattern="*.nii.gz")


def test_links_in_a_circle_and_links_to_nothing_do_no_harm(tmp_path):
    touch(tmp_path, "a/b/x.nii.gz")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a" / "self")
    (tmp_path / "gone.nii.gz").symlink_to(tmp_path / "nowhere.nii.gz")
    (tmp_path / "circle.nii.gz").symlink_to(tmp_path / "circle.nii.gz")
    source = find(tmp_path)
    assert list(pairs(source, tmp_path)) == ["a/b/x.nii.gz"]
    assert sorted(os.path.basename(p) for p, _ in source.refused) == ["circle.nii.gz", "gone.nii.gz", "self"]


def test_a_folder_with_dicom_slices_is_one_candidate(tmp_path):
    write_series(tmp_path / "patient" / "CT 1")
    for file in write_series(tmp_path / "patient" / "no suffix", uid="1.2.9"):
        file.rename(file.with_suffix(""))
    touch(tmp_path, "patient/report.pdf", "labels/CT 1.nii.gz")
    source = find(tmp_path / "patient", labels=tmp_path / "labels")
    assert pairs(source, tmp_path) == {"patient/CT 1": "labels/CT 1.nii.gz", "patient/no suffix": None}


def test_maps_that_a_prediction_wrote_are_no_images(tmp_path):
    """Label maps may be labels; what lies beside them would be learned from as scans."""
    from hssl.outputs import RECORD, ResultFolder

    made = ["a.nii.gz", "a_uncertainty.nii.gz", "a_probability_1_liver.nii.gz"]
    results = ResultFolder(tmp_path / "results", {"model": "m"})
    results.plan([(tmp_path / "results" / name, "a") for name in made], [])
    for name in made:
        with results.writing(tmp_path / "results" / name) as temporary:
            temporary.write_bytes(b"drawn")
    touch(tmp_path, "results/b_uncertainty.nii.gz")  # not written by a prediction
    source = find(tmp_path / "results")
    assert list(pairs(source, tmp_path)) == ["results/a.nii.gz", "results/b_uncertainty.nii.gz"]
    assert source.not_read["maps of uncertainty and probability"] == 2
    (tmp_path / "results" / RECORD).write_text("no record")
    assert [(os.path.basename(p), "no record" in r) for p, r in find(tmp_path / "results").refused] == [(RECORD, True)]


def test_a_spacing_that_is_stated_holds_for_every_file_of_the_source(tmp_path):
    for name in ("a.tif", "b.tiff"):
        touch(tmp_path, name)
    assert [c.spacing for c in find(tmp_path, spacing=(0.5, 0.5, 2.0)).candidates] == [(0.5, 0.5, 2.0)] * 2
    assert [c.spacing for c in find(tmp_path).candidates] == [None] * 2


def test_a_workspace_below_a_source_is_not_a_source(tmp_path):
    touch(tmp_path, "a.nii.gz")
    Catalogue.create(tmp_path / "workspace")
    touch(tmp_path, "workspace/predictions/a.nii.gz")
    source = find(tmp_path)
    assert list(pairs(source, tmp_path)) == ["a.nii.gz"] and source.not_read["workspaces of HSSL"] == 1
    with pytest.raises(InputError, match="workspace"):
        find(tmp_path / "workspace")


MSD = {
    "name": "Spleen",
    "modality": {"0": "CT"},
    "labels": {"0": "background", "1": "spleen", "2": "liver"},
    "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}, {"image": "./imagesTr/lost.nii.gz"}],
    "test": ["./imagesTs/t.nii.gz"],
}


def write(root: Path, values: object) -> Path:
    (root / "dataset.json").write_text(json.dumps(values))
    return root


def test_an_msd_dataset_gives_cases_classes_and_modality(tmp_path):
    touch(tmp_path, "imagesTr/a.nii.gz", "labelsTr/a.nii.gz", "imagesTs/t.nii.gz")
    source = find(write(tmp_path, MSD))
    assert (source.name, source.kind, source.modality) == ("Spleen", "MSD dataset", "CT")
    assert source.classes == {1: "spleen", 2: "liver"}
    assert pairs(source, tmp_path) == {"imagesTr/a.nii.gz": "labelsTr/a.nii.gz", "imagesTs/t.nii.gz": None}
    assert [(os.path.basename(p), r) for p, r in source.refused] == [("lost.nii.gz", "is listed but does not exist")]


def test_an_msd_dataset_of_several_channels_needs_a_choice_which_becomes_the_frame(tmp_path):
    touch(tmp_path, "imagesTr/a.nii.gz", "imagesTs/t.nii.gz")
    write(tmp_path, {**MSD, "modality": {"0": "T2", "1": "ADC"}})
    with pytest.raises(InputError, match="2 channels: 0 T2, 1 ADC"):
        find(tmp_path)
    source = find(tmp_path, channel=1)
    assert source.modality == "MR"
    assert {c.frame for c in source.candidates} == {1}


def test_an_nnunet_dataset_gives_the_chosen_channel(tmp_path):
    touch(tmp_path, *(f"imagesTr/case 1_000{c}.nrrd" for c in (0, 1)), "labelsTr/case 1.nrrd", "imagesTs/t_0000.nrrd")
    touch(tmp_path, "imagesTs/t_0001.nrrd", "imagesTr/odd.nrrd")
    values = {
        "channel_names": {"0": "CT", "1": "PET"},
        "labels": {"background": 0, "tumour": 1},
        "file_ending": ".nrrd",
    }
    write(tmp_path, values)
    with pytest.raises(InputError, match="2 channels"):
        find(tmp_path)
    with pytest.raises(InputError, match="no channel 2"):
        find(tmp_path, channel=2)
    source = find(tmp_path, channel=0)
    assert pairs(source, tmp_path) == {
        "imagesTr/case 1_0000.nrrd": "labelsTr/case 1.nrrd",
        "imagesTs/t_0000.nrrd": None,
    }
    assert [c.name for c in source.candidates] == ["case 1", "t"]
    assert source.classes == {1: "tumour"}
    assert [os.path.basename(p) for p, _ in source.refused] == ["odd.nrrd"]


def test_an_nnunet_dataset_may_list_its_cases_wherever_they_lie(tmp_path):
    touch(tmp_path, "raw/p1/t1.nii.gz", "raw/p1/t2.nii.gz", "raw/p1/seg.nii.gz", "raw/p2/t1.nii.gz", "raw/p2/t2.nii.gz")
    touch(tmp_path, "imagesTr/q_0000.nii.gz", "imagesTr/q_0001.nii.gz", "labelsTr/q.nii.gz", "imagesTs/t_0001.nii.gz")
    listed = {
        "p1": {"images": ["raw/p1/t1.nii.gz", "raw/p1/t2.nii.gz"], "label": "raw/p1/seg.nii.gz"},
        "p2": {"images": ["raw/p2/t1.nii.gz", "raw/p2/t2.nii.gz"]},
        "q": {"images": ["imagesTr/q_0000.nii.gz", "imagesTr/q_0001.nii.gz"], "label": "labelsTr/q.nii.gz"},
        "r": {"images": ["raw/p1/t1.nii.gz"]},
        "s": "raw",
    }
    values = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "x": 1}, "dataset": listed}
    source = find(write(tmp_path, values), channel=1)
    assert pairs(source, tmp_path) == {
        "raw/p1/t2.nii.gz": "raw/p1/seg.nii.gz",
        "raw/p2/t2.nii.gz": None,
        "imagesTr/q_0001.nii.gz": "labelsTr/q.nii.gz",
        "imagesTs/t_0001.nii.gz": None,
    }
    assert [c.name for c in source.candidates] == ["p1", "p2", "q", "t"]
    assert [reason for _, reason in source.refused] == ["lists no image of channel 1"] * 2


def test_an_nnunet_dataset_of_one_channel_needs_no_choice(tmp_path):
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    write(tmp_path, {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "x": 1}, "file_ending": ".nii.gz"})
    source = find(tmp_path)
    assert (source.modality, len(source.candidates)) == ("MR", 1)


@pytest.mark.parametrize(
    "values",
    [
        [],
        {"training": 5},
        {**MSD, "labels": ["a"]},
        {**MSD, "labels": {"1": ["region"]}},
        {**MSD, "labels": {"a": "b"}},
        {**MSD, "labels": {"a": 1e999}},
        {**MSD, "labels": {"1": "twice", "2": "twice"}},
        {**MSD, "labels": {"1": ""}},
        {**MSD, "modality": "CT"},
        {**MSD, "test": 5},
        {"channel_names": {"0": "CT"}, "file_ending": 3},
        {"channel_names": {"0": "CT"}, "labels": {"a": []}},
    ],
)
def test_a_dataset_json_that_makes_no_sense_is_refused(tmp_path, values):
    write(tmp_path, values)
    with pytest.raises(HSSLError, match=r"dataset\.json"):
        find(tmp_path)


def test_entries_of_a_dataset_that_make_no_sense_are_listed(tmp_path):
    touch(tmp_path, "imagesTr/a.nii.gz")
    source = find(write(tmp_path, {**MSD, "training": [5, {"label": "x"}, {"image": "imagesTr/a.nii.gz", "label": 3}]}))
    assert list(pairs(source, tmp_path)) == ["imagesTr/a.nii.gz"]
    assert len(source.refused) == 3  # with the test image, which does not exist


def test_paths_in_a_dataset_that_no_file_can_have_are_listed(tmp_path):
    odd = ["/", "x" * 5000, "a\0b", "", "\udc8d.nii"]
    source = find(write(tmp_path, {**MSD, "training": [], "test": odd}))
    assert source.candidates == []
    assert len(source.refused) == len(odd)


def test_a_name_that_is_not_utf_8_is_refused_and_can_be_written_down(tmp_path):
    touch(tmp_path, "a.nii.gz", os.fsdecode(b"b\xe4.nii.gz"))
    source = find(tmp_path)
    assert list(pairs(source, tmp_path)) == ["a.nii.gz"]
    path, reason = source.refused[0]
    assert "UTF-8" in reason
    path.encode("utf-8")
