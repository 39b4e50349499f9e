"""Layouts as they are downloaded, and as people make them: which files are images, and whose each label is."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pytest

from hssl.errors import ConfigurationError, InputError
from hssl.outputs import ResultFolder
from hssl.workspace.candidates import Source
from hssl.workspace.datasets import descriptions_below
from hssl.workspace.sources import find


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def pairs(source: Source, root: Path) -> dict[str, str | None]:
    return {
        os.path.relpath(c.image, root): c.label if c.label is None else os.path.relpath(c.label, root)
        for c in source.candidates
    }


def ids(source: Source) -> list[str]:
    return [c.name or os.path.basename(c.image) for c in source.candidates]


LAYOUTS = {
    "KiTS": {
        "case_00000/imaging.nii.gz": "case_00000/segmentation.nii.gz",
        "case_00001/imaging.nii.gz": "case_00001/segmentation.nii.gz",
        "case_00002/imaging.nii.gz": None,
    },
    "LiTS": {
        "Training Batch 1/volume-0.nii": "Training Batch 1/segmentation-0.nii",
        "Training Batch 2/volume-28.nii": "Training Batch 2/segmentation-28.nii",
    },
    "LiTS with labels in a folder of their own": {
        "volume_pt1/volume-0.nii": "segmentations/segmentation-0.nii",
        "volume_pt2/volume-28.nii": "segmentations/segmentation-28.nii",
    },
    "SKI10": {"image-001.mhd": "labels-001.mhd", "image-002.mhd": "labels-002.mhd"},
    "ACDC": {
        "training/patient001/patient001_frame01.nii.gz": "training/patient001/patient001_frame01_gt.nii.gz",
        "training/patient001/patient001_frame12.nii.gz": "training/patient001/patient001_frame12_gt.nii.gz",
        "training/patient002/patient002_frame01.nii.gz": "training/patient002/patient002_frame01_gt.nii.gz",
    },
    "BTCV": {
        "Training/img/img0001.nii.gz": "Training/label/label0001.nii.gz",
        "Training/img/img0002.nii.gz": "Training/label/label0002.nii.gz",
    },
    "MM-WHS": {"ct_train/ct_train_1001_image.nii.gz": "ct_train/ct_train_1001_label.nii.gz"},
    "CT-ORG": {
        "OrganSegmentations/volume-0.nii.gz": "OrganSegmentations/labels-0.nii.gz",
        "OrganSegmentations/volume-1.nii.gz": "OrganSegmentations/labels-1.nii.gz",
    },
    "a project that is called after labels": {"liver_seg/a.nii.gz": "liver_seg/a_mask.nii.gz", "liver_seg/b.nii.gz": None},
    "PROMISE12": {"Case00.mhd": "Case00_segmentation.mhd", "Case01.mhd": "Case01_segmentation.mhd"},
    "crossMoDA": {"crossmoda_1_ceT1.nii.gz": "crossmoda_1_Label.nii.gz"},
    "channels as in nnU-Net, without its description": {
        "images/FLARE22_Tr_0001_0000.nii.gz": "labels/FLARE22_Tr_0001.nii.gz",
        "images/FLARE22_Tr_0002_0000.nii.gz": "labels/FLARE22_Tr_0002.nii.gz",
    },
    "a folder for each patient": {
        "p1/image/scan.nii.gz": "p1/label/scan.nii.gz",
        "p2/image/scan.nii.gz": "p2/label/scan.nii.gz",
    },
    "a folder for each patient, files of other names": {
        "p1/image/IMG_0001.nii.gz": "p1/label/manual.nii.gz",
        "p2/image/IMG_0002.nii.gz": "p2/label/manual.nii.gz",
    },
    "a file for each role": {"p1/image.nrrd": "p1/label.nrrd", "p2/image.nrrd": "p2/label.nrrd"},
    "one name for all": {"images/p1/ct.nii.gz": "labels/p1/ct.nii.gz", "images/p2/ct.nii.gz": "labels/p2/ct.nii.gz"},
    "labels without the folders of the images": {"images/site A/a.nii.gz": "labels/a.nii.gz"},
    "odd casing": {"Images/P1/CT.nii.gz": "LABELS/p1/ct.NII.GZ"},
    "spaces": {"my scans/case 1.nii.gz": "my masks/case 1.nii.gz"},
    "a label folder inside the image folder": {"images/a.nii.gz": "images/labels/a.nii.gz"},
    "a label folder beside the images": {"a.nii.gz": "masks/a.nii.gz", "b.nii.gz": "masks/b_mask.nii.gz"},
    "numbers only": {"images/1.nii.gz": "labels/1.nii.gz", "images/11.nii.gz": "labels/11.nii.gz"},
    "dates": {"2021-03-04.nii.gz": "2021-03-04_seg.nii.gz", "2021-03-05.nii.gz": "2021-03-05_seg.nii.gz"},
    "parts of a split": {
        "imagesTr/a.nii.gz": "labelsTr/a.nii.gz",
        "imagesVal/a.nii.gz": "labelsVal/a.nii.gz",
        "imagesTs/a.nii.gz": None,
    },
    "training and test above": {
        "train/images/a.nii.gz": "train/labels/a.nii.gz",
        "test/images/a.nii.gz": "test/labels/a.nii.gz",
    },
    "camel case": {"TrainImages/a.nii.gz": "TrainLabels/a.nii.gz"},
    "labelled and not": {"labeled/a.nii.gz": "labeled/a_gt.nii.gz", "unlabeled/b.nii.gz": None},
    "unlabelled beside images": {
        "images/a.nii.gz": "labels/a.nii.gz",
        "unlabelled/b.nii.gz": None,
        "images_unlabelled/c.nii.gz": None,
    },
    "ground truth": {"image/a.nii.gz": "Ground Truth/a.nii.gz", "image/b.nii.gz": "Ground Truth/b.nii.gz"},
    "words of labels before the name": {"scan_01.nii.gz": "mask_01.nii.gz", "scan_02.nii.gz": "mask_02.nii.gz"},
    "a modality in the image's name only": {"ct_01.nii.gz": "seg_01.nii.gz", "ct_02.nii.gz": "seg_02.nii.gz"},
    "other words for labels": {"img/1.nii": "lbl/1.nii", "img/2_img.nii.gz": "img/2_lab.nii.gz"},
    "a structure in the label's name": {
        "case1/t1.nii.gz": "case1/tumor_seg.nii.gz",
        "case2/t1.nii.gz": "case2/tumor_seg.nii.gz",
    },
    "a structure after the image's name": {"sub1.nii.gz": "sub1_brain_mask.nii.gz"},
    "capitals": {"IMG_001.NII.GZ": "IMG_001_SEG.NII.GZ"},
    "Slicer's names in folders of patients": {
        "Müller/Aufnahme.nrrd": "Müller/Segmentation.seg.nrrd",
        "Größe/Aufnahme.nrrd": "Größe/Segmentation.seg.nrrd",
    },
    "Slicer": {"CTChest.nrrd": "CTChest.seg.nrrd"},
    "other formats": {"a.mha": "a-label.nii", "b.nii.gz": "b_gt.nrrd"},
    "BIDS": {
        "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz": "derivatives/manual/sub-01/ses-1/anat/sub-01_ses-1_dseg.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz": (
            "derivatives/manual/sub-01/ses-2/anat/sub-01_ses-2_space-orig_label-lesion_mask.nii.gz"
        ),
        "sub-02/anat/sub-02_T1w.nii.gz": None,
    },
    "VerSe": {
        "rawdata/sub-verse004/sub-verse004_ct.nii.gz": (
            "derivatives/sub-verse004/sub-verse004_seg-vert_msk.nii.gz"
        ),
        "rawdata/sub-verse005/sub-verse005_ct.nii.gz": None,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_image_has_its_own_label(tmp_path, name):
    expected = LAYOUTS[name]
    touch(tmp_path, *expected, *(label for label in expected.values() if label))
    source = find(tmp_path)
    assert pairs(source, tmp_path) == expected
    assert source.refused == []


@pytest.mark.parametrize("name", LAYOUTS)
def test_ids_and_patients_do_not_depend_on_the_order_and_no_id_is_there_twice(tmp_path, name):
    touch(tmp_path, *LAYOUTS[name], *(label for label in LAYOUTS[name].values() if label))
    assert len(set(ids(find(tmp_path)))) == len(LAYOUTS[name])


def test_files_of_one_name_are_called_after_what_differs(tmp_path):
    touch(tmp_path, "images/p1/ct.nii.gz", "images/p2/ct.nii.gz")
    assert ids(find(tmp_path)) == ["p1", "p2"]
    touch(tmp_path, "images/p1/mr.nii.gz", "images/p2/mr.nii.gz")
    assert ids(find(tmp_path)) == ["p1_ct", "p1_mr", "p2_ct", "p2_mr"]
    touch(tmp_path / "kits", "case_00001/imaging.nii.gz", "case_00001/segmentation.nii.gz")
    assert ids(find(tmp_path / "kits")) == ["case_00001"]
    assert ids(find(tmp_path / "kits" / "case_00001")) == ["case_00001"]


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (["images/a/x.nii.gz", "images/b/x.nii.gz", "labels/x.nii.gz"], ["images/a/x.nii.gz", "images/b/x.nii.gz"]),
        (["images/a.nii", "images/a.nii.gz", "labels/a.nii.gz"], ["images/a.nii", "images/a.nii.gz"]),
        (["images/a.nii.gz", "labels/a.nii", "labels/a.nii.gz"], ["labels/a.nii", "labels/a.nii.gz"]),
        (["a.nrrd", "a_seg.nrrd", "a.seg.nrrd"], ["a_seg.nrrd", "a.seg.nrrd"]),
        (["images/a.nii.gz", "labels/r1/a.nii.gz", "labels/r2/a.nii.gz"], ["r1/a.nii.gz", "r2/a.nii.gz"]),
        (["p1/p1-t1c.nii.gz", "p1/p1-t2f.nii.gz", "p1/p1-seg.nii.gz"], ["p1-t1c.nii.gz", "p1-t2f.nii.gz", "{id}-t1c"]),
        (["p1/ct.nii.gz", "p1/pet.nii.gz", "p1/mask.nii.gz"], ["p1/ct.nii.gz", "p1/pet.nii.gz"]),
        (["ct_01.nii.gz", "pet_01.nii.gz", "seg_01.nii.gz"], ["ct_01.nii.gz", "pet_01.nii.gz"]),
        (["a.nii.gz", "a_reader1_mask.nii.gz", "a_reader2_mask.nii.gz"], ["a_reader1_mask", "a_reader2_mask"]),
        (
            ["a.nii.gz", "a_lesion1_seg.nii.gz", "a_lesion2_seg.nii.gz"],
            ["a_lesion1_seg", "a_lesion2_seg", "{structure}"],
        ),
        (["a.nii.gz", "a_manual_seg.nii.gz", "a_auto_seg.nii.gz"], ["a_manual_seg", "a_auto_seg"]),
        (["a.nii.gz", "a_staple_seg.nii.gz", "a_majority_seg.nii.gz"], ["a_staple_seg", "a_majority_seg"]),
        (["a.nii.gz", "a_seg.nii.gz", "a_liver_seg.nii.gz"], ["a_seg", "a_liver_seg"]),
        (["images/a.nii.gz", "labels_r1/a.nii.gz", "labels_r2/a.nii.gz"], ["labels_r1/a", "labels_r2/a"]),
    ],
)
def test_what_cannot_be_told_apart_is_an_error_that_names_both(tmp_path, files, named):
    touch(tmp_path, *files)
    with pytest.raises(InputError) as told:
        find(tmp_path)
    assert [name for name in named if name not in f"{told.value} {told.value.hint}"] == []


@pytest.mark.parametrize(
    ("files", "pattern"),
    [
        (["c1/t1.nii.gz", "c1/t2.nii.gz", "c1/seg.nii.gz"], "{id}/t1.nii.gz"),
        (["c1/study/CT.nii.gz", "c1/study/PET.nii.gz", "c1/study/SEG.nii.gz"], "{id}/*/CT.nii.gz"),
        (["images/c1/CT.nii.gz", "images/c1/PET.nii.gz", "labels/c1/SEG.nii.gz"], "images/{id}/CT.nii.gz"),
        (["a_t1.nii.gz", "a_t2.nii.gz", "a_seg.nii.gz"], "{id}_t1.nii.gz"),
        (["x.nii.gz", "y.nii.gz", "seg.nii.gz"], ""),
    ],
)
def test_a_pattern_that_is_advised_is_a_way_out(tmp_path, files, pattern):
    touch(tmp_path, *files)
    with pytest.raises(InputError) as told:
        find(tmp_path)
    assert (f"such as {pattern!r}" in told.value.hint) == bool(pattern) == (told.value.way_out == "pattern")
    if pattern:
        assert pairs(find(tmp_path, pattern=pattern), tmp_path) == {files[0]: files[2]}
    else:
        assert told.value.hint == "Name it after its image."


def test_a_pattern_that_fits_nothing_is_told_with_what_there_is(tmp_path):
    touch(tmp_path, "Singapore/50/pre/FLAIR.nii.gz")
    with pytest.raises(InputError, match=r"'{id}/pre/FLAIR.nii.gz' \(there: Singapore/50/pre/FLAIR.nii.gz\)"):
        find(tmp_path, pattern="{id}/pre/FLAIR.nii.gz")


@pytest.mark.parametrize("count", [2, 4, 5])
def test_a_label_of_several_images_names_four_of_them(tmp_path, count):
    touch(tmp_path, *(f"sub-01/anat/sub-01_T{n}w.nii.gz" for n in range(count)))
    touch(tmp_path, "derivatives/m/sub-01/anat/sub-01_dseg.nii.gz")
    with pytest.raises(InputError) as told:
        find(tmp_path)
    shown = ", ".join(f"sub-01/anat/sub-01_T{n}w.nii.gz" for n in range(min(count, 4)))
    assert told.value.reason.endswith(f"each of {count} images: {shown}{', …' if count > 4 else ''}")


def test_a_bids_label_of_another_sequence_or_session_is_no_image_s_and_that_is_said(tmp_path):
    touch(tmp_path, *(f"sub-{n}/ses-1/anat/sub-{n}_ses-1_run-01_T1w.nii.gz" for n in (1, 2, 3, 5)))
    labels = [
        "sub-1/ses-1/anat/sub-1_ses-1_T2w_dseg.nii.gz",
        "sub-2/anat/sub-2_dseg.nii.gz",
        "sub-3/ses-1/anat/sub-3_ses-1_run-1_T1w_dseg.nii.gz",
        "sub-4/ses-1/anat/sub-4_ses-1_dseg.nii.gz",
    ]
    touch(tmp_path, *(f"derivatives/m/{name}" for name in labels))
    source = find(tmp_path)
    found = {image[:5]: label for image, label in pairs(source, tmp_path).items() if label}
    assert found == {"sub-3": f"derivatives/m/{labels[2]}"}
    reasons = [reason for _, reason in sorted(source.refused)]
    told = "is a label that fits no image of its subject by its name (there: sub-{0}/ses-1/anat/sub-{0}_ses-1_run-01_T1w.nii.gz)"
    assert reasons == [told.format(1), told.format(2), "is a label without an image of that subject"]


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("imagesTr/case_01_0000.nii.gz", "labelsTr/case_02.nii.gz"),
        ("images/fold0/case_0001.nii.gz", "labels/fold0/case_0009.nii.gz"),
        ("images/p1/case_0001.nii.gz", "labels/p1/case_0009.nii.gz"),
        ("siteA/Smith.nii.gz", "siteA/Jones_seg.nii.gz"),
        ("p1/visit1.nii.gz", "p1/visit2_seg.nii.gz"),
        ("p1_t1.nii.gz", "p1_t2_seg.nii.gz"),
        ("p1/t1w.nii.gz", "p1/flair_lesion_mask.nii.gz"),
        ("images/p1_pet.nii.gz", "labels/p1_ct.nii.gz"),
    ],
)
def test_a_label_that_is_called_after_another_image_is_not_given_to_the_only_one_there_is(tmp_path, image, label):
    """The image that it belongs to was not downloaded, say: on one grid nothing else would tell."""
    touch(tmp_path, image, label)
    source = find(tmp_path)
    assert pairs(source, tmp_path)[image] is None
    for path, reason in source.refused:
        assert path == str(tmp_path / label) and reason.startswith(
            f"is called as a label of another image than {image}"
        )


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("train/a.nii.gz", "train/GT.nii.gz"),
        ("p1/IMG_0001.nii.gz", "p1/manual_seg.nii.gz"),
        ("p1/Data/CTChest.nrrd", "p1/Data/Segmentation_1.seg.nrrd"),
        ("p1_t1w.nii.gz", "p1_t1_seg.nii.gz"),
        ("p1_t1w.nii.gz", "p1_mr_seg.nii.gz"),
        ("p1/case_0001.nii.gz", "p1/case_1_seg.nii.gz"),
        ("fold1/1_0000.nii.gz", "fold1/1_seg.nii.gz"),
    ],
)
def test_the_only_label_beside_the_only_image_is_its_own_where_no_name_speaks_against_it(tmp_path, image, label):
    touch(tmp_path, image, label)
    assert pairs(find(tmp_path), tmp_path) == {image: label}


def test_a_sequence_is_chosen_by_a_pattern_and_has_the_case_s_label(tmp_path):
    for case in ("BraTS-001", "BraTS-002"):
        touch(tmp_path, *(f"{case}/{case}-{s}.nii.gz" for s in ("t1c", "t1n", "t2f", "t2w", "seg")))
    source = find(tmp_path, pattern="{id}-t1c.nii.gz")
    assert pairs(source, tmp_path) == {f"{c}/{c}-t1c.nii.gz": f"{c}/{c}-seg.nii.gz" for c in ("BraTS-001", "BraTS-002")}
    assert ids(source) == ["BraTS-001", "BraTS-002"]
    both = find(tmp_path, pattern="*/{id}-t*.nii.gz")
    assert len(both.candidates) == 8
    assert {c.patient for c in both.candidates} == {"BraTS-001", "BraTS-002"}
    touch(tmp_path / "bids", "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T2w.nii.gz")
    touch(tmp_path / "bids", "derivatives/m/sub-01/anat/sub-01_dseg.nii.gz")
    with pytest.raises(InputError, match="each of 2 images"):
        find(tmp_path / "bids")
    chosen = find(tmp_path / "bids", pattern="{id}_T2w.nii.gz")
    assert pairs(chosen, tmp_path / "bids") == {
        "sub-01/anat/sub-01_T2w.nii.gz": "derivatives/m/sub-01/anat/sub-01_dseg.nii.gz"
    }


def test_a_mask_for_each_class_is_one_label(tmp_path):
    for case in ("s0000", "s0001"):
        touch(tmp_path, f"{case}/ct.nii.gz", *(f"{case}/segmentations/{n}.nii.gz" for n in ("spleen", "liver")))
    touch(tmp_path, "s0002/ct.nii.gz", "s0002/segmentations/liver.nii.gz")
    source = find(tmp_path)
    assert pairs(source, tmp_path) == {f"s000{n}/ct.nii.gz": f"s000{n}/segmentations" for n in range(3)}
    assert ids(source) == ["s0000", "s0001", "s0002"]
    assert source.classes == {1: "liver", 2: "spleen"}
    assert source.pairs(1) == ["s0000/ct.nii.gz ← s0000/segmentations/ (a mask for each class)"]
    assert find(tmp_path, structures=["spleen"]).classes == {1: "spleen"}
    with pytest.raises(ConfigurationError, match=r"no structure 'heart' .*there: liver, spleen"):
        find(tmp_path, structures=["spleen", "heart"])
    assert pairs(find(tmp_path / "s0000"), tmp_path) == {"s0000/ct.nii.gz": "s0000/segmentations"}


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", ["images/case{n}.nii.gz", "case{n}/ct.nii.gz"])
def test_structures_are_called_the_same_however_many_cases_there_are(tmp_path, name, count):
    for n in range(count):
        image = name.format(n=n)
        stem = os.path.basename(image)[: -len(".nii.gz")]
        folder = "labels" if image.startswith("images") else f"case{n}/labels"
        touch(tmp_path, image, *(f"{folder}/{stem}_{s}.nii.gz" for s in ("liver", "spleen")))
    source = find(tmp_path)
    assert source.classes == {1: "liver", 2: "spleen"} and [len(c.parts) for c in source.candidates] == [2] * count


def test_masks_of_structures_that_no_other_image_has_are_refused_with_the_way_out(tmp_path):
    for case, names in {"s0": ("liver", "spleen"), "s1": ("kidney", "aorta")}.items():
        touch(tmp_path, f"{case}/ct.nii.gz", *(f"{case}/segmentations/{name}.nii.gz" for name in names))
    source = find(tmp_path)
    assert not any(c.label for c in source.candidates) and len(source.refused) == 4
    assert all("/ct.nii.gz and not its name" in why and why.endswith("with {structure}") for _, why in source.refused)
    said = find(tmp_path, pattern="{id}/ct.nii.gz", label_pattern="{id}/segmentations/{structure}.nii.gz")
    assert [len(c.parts) for c in said.candidates] == [2, 2]


def test_masks_of_different_structures_one_for_each_image_are_told(tmp_path):
    touch(tmp_path, "p1/CT.nrrd", "p1/Segmentation_liver.nii.gz", "p2/CT.nrrd", "p2/Segmentation_spleen.nii.gz")
    source = find(tmp_path)
    (note,) = source.notes
    assert "called differently (liver, spleen)" in note and "{structure}" in note
    assert source.advised == {"label_pattern"}
    said = find(tmp_path, pattern="{id}/CT.nrrd", label_pattern="{id}/Segmentation_{structure}.nii.gz")
    assert said.classes == {1: "liver", 2: "spleen"} and [len(c.parts) for c in said.candidates] == [1, 1]


def test_labels_that_a_model_has_predicted_are_told_unless_they_were_changed(tmp_path):
    touch(tmp_path, *(f"images/{c}.nii.gz" for c in "abc"))
    results = ResultFolder(tmp_path / "labels", "a model")
    files = [(tmp_path / "labels" / f"{c}.nii.gz", c) for c in "abc"]
    results.plan(files, [])
    (tmp_path / "labels").mkdir()
    for file, case in files:
        with results.writing(file) as path:
            path.write_text(case)
    (tmp_path / "labels/b.nii.gz").write_text("corrected")
    source = find(tmp_path)
    assert all(c.label for c in source.candidates)
    (note,) = source.notes
    assert note.startswith("2 labels are what a model has predicted") and "(labels/a.nii.gz, labels/c.nii.gz)" in note


@pytest.mark.parametrize(
    "labels",
    [
        ("p1_liver_seg.nii.gz", "p2_liver_v2_seg.nii.gz"),
        ("p1_tumor_seg.nii.gz", "p2_seg.nii.gz"),
        ("p1_reader1_seg.nii.gz", "p2_final_seg.nii.gz"),
        ("p1_liver.seg.nrrd", "p2_spleen.seg.nrrd"),
        ("labels/siteA/p1.nii.gz", "labels/siteB/p2.nii.gz"),
    ],
)
def test_of_labels_of_one_structure_or_that_name_it_themselves_nothing_is_told(tmp_path, labels):
    images = [f"images/p{n}.nii.gz" if labels[0].startswith("labels") else f"p{n}.nii.gz" for n in (1, 2)]
    touch(tmp_path, *images, *labels)
    source = find(tmp_path)
    assert source.notes == [] and all(c.label for c in source.candidates)


LUNA = [f"1.3.6.1.4.1.14519.5.2.1.6279.6001.{number}" for number in (105, 108, 109)]
NODULES = "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.3.6.1.4.1.14519.5.2.1.6279.6001.105,-9.1,20.5,-70,6.4\n"


@pytest.mark.parametrize("where", ["", "CSVFILES/"])
@pytest.mark.parametrize("added", [".", "subset0"])
def test_of_scans_whose_findings_are_points_it_is_said_that_these_are_no_labels(tmp_path, where, added):
    """LUNA16: nodules by their coordinates."""
    touch(tmp_path, *(f"subset{n}/{uid}.{end}" for n, uid in enumerate(LUNA) for end in ("mhd", "raw")))
    (tmp_path / where).mkdir(exist_ok=True)
    (tmp_path / where / "annotations.csv").write_text(NODULES)
    (tmp_path / "another.csv").write_text("seriesuid,class,xyz\n")
    source = find(tmp_path / added)
    assert len(source.candidates) == (3 if added == "." else 1) and source.refused == []
    told = [note for note in source.notes if note.startswith("annotations.csv says where findings lie, as points")]
    assert len(told) == (0 if (where, added) == ("CSVFILES/", "subset0") else 1)
    assert all("(coordX, coordY, coordZ), which are no label maps" in note and "make masks" in note for note in told)
    touch(tmp_path, f"{added}/{LUNA[0]}_mask.mhd" if added == "subset0" else f"subset0/{LUNA[0]}_mask.mhd")
    assert not any("points" in note for note in find(tmp_path / added).notes)


def test_a_label_of_a_name_that_an_image_elsewhere_has_is_told_so_with_the_way_out(tmp_path):
    """LUNA16's masks of lungs: nothing but their names tells that they belong to the scans."""
    touch(tmp_path, *(f"subset{n}/{uid}.mhd" for n, uid in enumerate(LUNA)))
    touch(tmp_path, *(f"seg-lungs-LUNA16/{uid}.mhd" for uid in [*LUNA[:2], "1.2.3"]))
    reasons = {os.path.basename(path)[:-4]: reason for path, reason in find(tmp_path).refused}
    assert reasons["1.2.3"] == "is a label without an image of that name"
    for n, uid in enumerate(LUNA[:2]):
        assert reasons[uid].startswith(
            f"has the name of subset{n}/{uid}.mhd, in a folder to which its own does not belong"
        )
        assert reasons[uid].endswith("say that the labels are in seg-lungs-LUNA16")
    said = find(tmp_path, labels=tmp_path / "seg-lungs-LUNA16")
    assert pairs(said, tmp_path) == {
        f"subset{n}/{uid}.mhd": f"seg-lungs-LUNA16/{uid}.mhd" if n < 2 else None for n, uid in enumerate(LUNA)
    }
    touch(tmp_path, f"subset7/{LUNA[0]}.mhd")
    (reason,) = (why for path, why in find(tmp_path).refused if LUNA[0] in path)
    assert reason.startswith(f"has a name of images in other folders (subset0/{LUNA[0]}.mhd, subset7/{LUNA[0]}.mhd)")


@pytest.mark.parametrize("below", ["CT", "1.2.840.1/1.2.840.1.4", "ct.nii.gz"])
@pytest.mark.parametrize("label", ["PAT_01.seg.nrrd", "PAT_01_seg.nii.gz", "pat-01-segmentation.nrrd"])
def test_a_label_that_is_called_after_the_folder_of_one_image_is_its_label(tmp_path, below, label):
    """DICOM series as a viewer exports them, and a segmentation of each patient in a folder of its own."""
    series = [f"scans/PAT_{n:02}/{below}" + ("" if "ct." in below else "/IM0001.dcm") for n in (1, 2)]
    touch(tmp_path, *series, f"segs/{label}")
    source = find(tmp_path / "scans", labels=tmp_path / "segs")
    assert pairs(source, tmp_path) == {f"scans/PAT_01/{below}": f"segs/{label}", f"scans/PAT_02/{below}": None}
    assert source.refused == []
    touch(tmp_path, "scans/PAT_01/PET/IM0001.dcm", "segs/PAT_03.seg.nrrd")
    source = find(tmp_path / "scans", labels=tmp_path / "segs")
    reasons = {os.path.basename(path): reason for path, reason in source.refused}
    assert reasons[label].startswith("is called after a folder of 2 images (PAT_01/")
    assert reasons["PAT_03.seg.nrrd"] == "is a label without an image of that name"
    chosen = find(tmp_path / "scans", labels=tmp_path / "segs", pattern=f"{{id}}/{below}")
    assert pairs(chosen, tmp_path)[f"scans/PAT_01/{below}"] == f"segs/{label}"
    touch(tmp_path, "scans/PAT_03/CT/IM0001.dcm", "segs/PAT_03_seg.nrrd")
    with pytest.raises(InputError, match="has two labels"):
        find(tmp_path / "scans", labels=tmp_path / "segs")


STRUCTURES = {
    "named after the image": ("{c}.nii.gz", "{c}_{s}_mask.nii.gz"),
    "named after the image, in a folder of labels": ("images/{c}.nii.gz", "labels/{c}_{s}.nii.gz"),
    "in a folder for each case": ("images/{c}.nii.gz", "labels/{c}/{s}.nii.gz"),
    "in a folder for each structure": ("images/{c}.nii.gz", "labels/{s}/{c}.nii.gz"),
    "in folders of labels for each structure": ("images/{c}.nii.gz", "{s}_masks/{c}.nii.gz"),
    "beside the image": ("{c}/image.nii.gz", "{c}/mask_{s}.nii.gz"),
    "beside the image, Slicer's names": ("{c}/ct.nrrd", "{c}/{s}.seg.nrrd"),
}


@pytest.mark.parametrize("layout", STRUCTURES)
def test_a_mask_for_each_structure_in_files_is_one_label(tmp_path, layout):
    image, label = STRUCTURES[layout]
    for case in ("case1", "case2", "case3"):
        touch(tmp_path, image.format(c=case))
        for structure in ("liver", "left kidney") if case != "case3" else ("left kidney",):
            touch(tmp_path, label.format(c=case, s=structure.replace(" ", "_")))
    source = find(tmp_path)
    assert source.refused == []
    assert source.classes == {1: "left_kidney", 2: "liver"}
    assert len(source.candidates) == 3
    for case, candidate in zip(("case1", "case2", "case3"), source.candidates, strict=True):
        names = ["left_kidney", "liver"] if case != "case3" else ["left_kidney"]
        expected = {(str(tmp_path / label.format(c=case, s=name)), name) for name in names}
        assert set(candidate.parts) == expected and candidate.label == candidate.parts[0][0]
    assert any("2 labels are joined" in note for note in source.notes)
    assert any("liver (2 of 3)" in note for note in source.notes)
    assert " + " in source.pairs(1)[0]
    only = find(tmp_path, structures=["liver"])
    assert only.classes == {1: "liver"} and [c.label is None for c in only.candidates] == [False, False, True]


def test_a_pattern_says_that_each_file_is_the_mask_of_a_structure(tmp_path):
    for case in ("p1", "p2"):
        touch(tmp_path, *(f"{case}/{name}.nii.gz" for name in ("t1", "lesion1", "lesion2")))
    source = find(tmp_path, pattern="{id}/t1.nii.gz", label_pattern="{id}/{structure}.nii.gz")
    assert [[name for _, name in c.parts] for c in source.candidates] == [["lesion1", "lesion2"]] * 2
    assert source.classes == {1: "lesion1", 2: "lesion2"} and source.refused == []
    for wrong in ("{id}_{structure}_{structure}.nii.gz", "{structure}.nii.gz"):
        with pytest.raises(ConfigurationError):
            find(tmp_path, label_pattern=wrong)


def test_a_label_that_names_no_structure_is_none_beside_labels_that_do(tmp_path):
    for case in ("a", "b"):
        touch(tmp_path, f"{case}.nii.gz", f"{case}_liver_mask.nii.gz", f"{case}_spleen_mask.nii.gz")
    touch(tmp_path, "c.nii.gz", "c_mask.nii.gz")
    source = find(tmp_path)
    assert [c.label is None for c in source.candidates] == [False, False, True]
    assert source.refused == [
        (str(tmp_path / "c_mask.nii.gz"), "names no structure, and the labels of other images do")
    ]


def test_labels_that_a_pattern_leaves_out_are_no_images(tmp_path):
    touch(tmp_path, *(f"{c}{end}.nii.gz" for c in ("a", "b") for end in ("", "_seg1", "_seg2")))
    source = find(tmp_path, label_pattern="{id}_seg1.nii.gz")
    assert pairs(source, tmp_path) == {f"{c}.nii.gz": f"{c}_seg1.nii.gz" for c in ("a", "b")}
    assert {os.path.basename(p) for p, _ in source.refused} == {"a_seg2.nii.gz", "b_seg2.nii.gz"}


def test_an_accented_letter_is_one_however_it_is_written(tmp_path):
    for name in ("Müller", "Größe"):
        touch(tmp_path, f"images/{unicodedata.normalize('NFC', name)}.nii.gz")
        touch(tmp_path, f"labels/{unicodedata.normalize('NFD', name)}.nii.gz")
    assert all(c.label for c in find(tmp_path).candidates)
    source = find(tmp_path, pattern="images/{id}.nii.gz", label_pattern="labels/{id}.nii.gz")
    assert all(c.label for c in source.candidates)


def test_several_labels_that_are_no_structures_are_not_joined(tmp_path):
    touch(tmp_path, "p1/image/a.nii.gz", "p1/label/a_v1.nii.gz", "p1/label/a_v2.nii.gz")
    touch(tmp_path, "p2/image/b.nii.gz", "p2/label/b.nii.gz")
    source = find(tmp_path)
    assert pairs(source, tmp_path) == {"p1/image/a.nii.gz": None, "p2/image/b.nii.gz": "p2/label/b.nii.gz"}
    assert len(source.refused) == 2


def test_the_whole_sequence_of_acdc_is_no_image_of_the_task(tmp_path):
    for n, last in ((1, "12"), (2, "10")):
        name = f"patient{n:03d}/patient{n:03d}"
        touch(tmp_path, *(f"{name}_{end}.nii.gz" for end in ("4d", "frame01", "frame01_gt", f"frame{last}")))
        touch(tmp_path, f"{name}_frame{last}_gt.nii.gz", f"patient{n:03d}/Info.cfg")
    source = find(tmp_path)
    assert (source.kind, source.modality) == ("ACDC dataset", "MR")
    assert source.classes == {1: "right ventricle", 2: "myocardium", 3: "left ventricle"}
    assert len(source.candidates) == 4
    assert all(c.label and c.label.endswith("_gt.nii.gz") for c in source.candidates)
    assert [c.patient for c in source.candidates] == ["patient001", "patient001", "patient002", "patient002"]
    assert [os.path.basename(p) for p, _ in source.refused] == ["patient001_4d.nii.gz", "patient002_4d.nii.gz"]
    assert source.not_read == {".cfg": 2}


@pytest.mark.parametrize("separator", [",", ";"])
def test_the_frames_of_mms_come_from_its_table(tmp_path, separator):
    table = ",External code,VendorName,ED,ES\n0,A0S9V9,Siemens,0,9\n1,B1,Philips,20,5\n2,C2,GE,3,\n"
    (tmp_path / "211230_M&Ms_Dataset_information.csv").write_text(table.replace(",", separator), encoding="utf-8-sig")
    (tmp_path / "1 no table.csv").mkdir()
    (tmp_path / "2 another.csv").write_text("External code,age\nA0S9V9,40\n")
    for code in ("A0S9V9", "B1", "C2", "D3"):
        touch(tmp_path, f"Training/Labeled/{code}/{code}_sa.nii.gz", f"Training/Labeled/{code}/{code}_sa_gt.nii.gz")
    touch(tmp_path, "Training/Unlabeled/E4/E4_sa.nii.gz")
    source = find(tmp_path / "Training")
    assert source.kind == "M&Ms dataset"
    assert source.refused == []
    frames = [(os.path.basename(c.image)[:-10], c.frame, c.patient) for c in source.candidates]
    assert frames == [
        ("A0S9V9", 0, "A0S9V9"), ("A0S9V9", 9, "A0S9V9"), ("B1", 5, "B1"), ("B1", 20, "B1"), ("C2", 3, "C2"),
        ("D3", None, "Labeled_D3"), ("E4", None, "Unlabeled_E4"),
    ]  # fmt: skip
    assert all(c.label for c in source.candidates[:-1])
    assert {c.frame for c in find(tmp_path, frame=2).candidates} == {2}


MSD = {"name": "Spleen", "modality": {"0": "CT"}, "labels": {"0": "background", "1": "spleen"}, "test": []}


def msd(root: Path, **values: object) -> Path:
    touch(root, "imagesTr/a.nii.gz", "imagesTr/._a.nii.gz", "labelsTr/a.nii.gz", "labelsTr/._a.nii.gz")
    training = [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}]
    (root / "dataset.json").write_text(json.dumps({**MSD, "training": training, **values}))
    return root


@pytest.mark.parametrize("above", [".", "Task09_Spleen", "download/Task09_Spleen"])
def test_a_dataset_is_found_from_a_folder_above_it_and_without_its_hidden_files(tmp_path, above):
    root = msd(tmp_path / above)
    touch(root, "imagesTr/not listed.nii.gz")
    source = find(tmp_path)
    assert (source.kind, source.name, source.classes) == ("MSD dataset", "Spleen", {1: "spleen"})
    assert pairs(source, root) == {"imagesTr/a.nii.gz": "labelsTr/a.nii.gz"}
    assert source.not_read == {"hidden": 2, "volumes that dataset.json does not list": 1}


def forbid(monkeypatch, name: str) -> None:
    """Folders of that name cannot be listed."""
    listed = Path.iterdir

    def denied(folder: Path):
        if folder.name == name:
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", denied)


def test_a_folder_that_cannot_be_read_hides_no_dataset_beside_it(tmp_path, monkeypatch):
    root = msd(tmp_path / "download" / "Task09_Spleen")
    (tmp_path / "a").mkdir()
    forbid(monkeypatch, "a")
    assert descriptions_below(tmp_path) == [root / "dataset.json"]


def test_a_folder_that_cannot_be_read_hides_no_table_above_it(tmp_path, monkeypatch):
    (tmp_path / "frames.csv").write_text("External code,ED,ES\nB1,2,0\n")
    touch(tmp_path, "Training/Labeled/B1_sa.nii.gz")
    forbid(monkeypatch, "Training")
    assert [c.frame for c in find(tmp_path / "Training" / "Labeled").candidates] == [0, 2]


def test_masks_that_cannot_be_read_leave_the_others_their_names(tmp_path, monkeypatch):
    for case in ("a", "b"):
        touch(tmp_path, f"{case}/ct.nii.gz", *(f"{case}/segmentations/{n}.nii.gz" for n in ("spleen", "liver")))
    listed = os.scandir
    seen = []

    def denied(folder: str):
        if folder == str(tmp_path / "a" / "segmentations"):
            seen.append(folder)
            if len(seen) > 1:  # it was listed, and cannot be read any more
                raise PermissionError(13, "Permission denied", folder)
        return listed(folder)

    monkeypatch.setattr(os, "scandir", denied)
    source = find(tmp_path)
    assert pairs(source, tmp_path) == {f"{case}/ct.nii.gz": f"{case}/segmentations" for case in "ab"}
    assert len(seen) > 1 and source.times_named == {"liver": 1, "spleen": 1}


def test_of_labels_of_one_name_the_one_at_the_top_is_that_of_a_single_file(tmp_path):
    touch(tmp_path, "scans/a.nii.gz", "truth/a.nii.gz", "truth/another reader/a.nii.gz")
    assert pairs(find(tmp_path / "scans" / "a.nii.gz", labels=tmp_path / "truth"), tmp_path) == {
        "scans/a.nii.gz": "truth/a.nii.gz"
    }


def test_a_folder_above_several_datasets_or_with_other_volumes_says_so(tmp_path):
    msd(tmp_path / "Task09_Spleen")
    touch(tmp_path, "elsewhere/b.nii.gz")
    source = find(tmp_path)
    assert len(source.candidates) == 1
    assert source.refused == [(str(tmp_path / "elsewhere/b.nii.gz"), "lies outside the dataset in Task09_Spleen")]
    msd(tmp_path / "Task10_Colon")
    with pytest.raises(InputError, match="holds 2 datasets: Task09_Spleen, Task10_Colon"):
        find(tmp_path)


def test_windows_separators_and_a_byte_order_mark_are_read(tmp_path):
    root = msd(tmp_path, training=[{"image": r".\imagesTr\a.nii.gz", "label": r".\labelsTr\a.nii.gz"}])
    text = (root / "dataset.json").read_bytes()
    (root / "dataset.json").write_bytes(b"\xef\xbb\xbf" + text)
    assert pairs(find(root), root) == {"imagesTr/a.nii.gz": "labelsTr/a.nii.gz"}


def test_nnu_net_1_has_channels_in_files_of_their_own(tmp_path):
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz", "imagesTs/t_0001.nii.gz")
    values = {"modality": {"0": "T2", "1": "ADC"}, "test": ["./imagesTs/t.nii.gz"]}
    training = [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}]
    (tmp_path / "dataset.json").write_text(json.dumps({**MSD, **values, "training": training}))
    source = find(tmp_path, channel=1)
    assert pairs(source, tmp_path) == {"imagesTr/a_0001.nii.gz": "labelsTr/a.nii.gz", "imagesTs/t_0001.nii.gz": None}
    assert [(c.name, c.frame) for c in source.candidates] == [("a", None), ("t", None)]
    assert source.not_read == {}


def nnunet(root: Path, labels: dict, cases=("c0", "c1")) -> Path:
    for case in cases:
        touch(root, f"imagesTr/{case}_0000.nii.gz", f"labelsTr/{case}.nii.gz")
    values = {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(values))
    return root


def test_the_ignore_label_of_nnu_net_is_no_class(tmp_path):
    source = find(nnunet(tmp_path / "raw" / "Dataset001_T", {"background": 0, "lesion": 1, "ignore": 2}).parent)
    assert (source.name, source.classes, source.ignore_value) == ("T", {1: "lesion"}, 2)


def test_regions_of_nnu_net_give_the_plain_labels_and_a_word_about_it(tmp_path):
    source = find(nnunet(tmp_path, {"background": 0, "whole tumor": [1, 2, 3], "core": [2, 3], "enhancing": [3]}))
    assert source.classes == {1: "whole tumor (1)", 2: "core (2)", 3: "enhancing"}
    assert len(source.candidates) == 2
    assert "whole tumor, core: regions" in source.notes[0]


def test_nnu_net_in_folders_is_paired_by_the_whole_path(tmp_path):
    source = find(nnunet(tmp_path, {"background": 0, "x": 1}, ("a/1", "b/1")))
    assert pairs(source, tmp_path) == {f"imagesTr/{c}/1_0000.nii.gz": f"labelsTr/{c}/1.nii.gz" for c in "ab"}
    assert [c.name for c in source.candidates] == ["a/1", "b/1"]


def datastore(root: Path) -> Path:
    touch(root, "a.nii.gz", "b.nii.gz", "labels/final/a.nii.gz", "labels/original/b.nii.gz", "labels/final/old.nii.gz")
    info = {"label_info": [{"name": "background", "idx": 0}, {"name": "spleen", "idx": 1}]}
    said = {"ext": ".nii.gz", "info": info}
    objects = {
        "a": {"image": {"ext": ".nii.gz"}, "labels": {"final": said}},
        "b": {"image": {"ext": ".nii.gz"}, "labels": {"original": said}},
        "lost": {"image": {"ext": ".nii.gz"}, "labels": {}},
    }
    (root / "datastore_v2.json").write_text(json.dumps({"name": "store", "objects": objects}))
    return root


def test_of_a_monai_label_datastore_only_submitted_labels_are_taken(tmp_path):
    source = find(datastore(tmp_path))
    assert pairs(source, tmp_path) == {"a.nii.gz": "labels/final/a.nii.gz", "b.nii.gz": None}
    assert (source.name, source.classes) == ("store", {1: "spleen"})
    reasons = {os.path.relpath(p, tmp_path): r for p, r in source.refused}
    assert reasons == {
        "labels/original/b.nii.gz": "is a label that nobody has submitted (tag 'original')",
        "lost.nii.gz": "is listed but does not exist",
        "labels/final/old.nii.gz": "is not listed in datastore_v2.json",
    }
    (tmp_path / "datastore_v2.json").unlink()
    source = find(tmp_path)
    assert pairs(source, tmp_path) == {"a.nii.gz": "labels/final/a.nii.gz", "b.nii.gz": None}
    assert {os.path.relpath(p, tmp_path) for p, _ in source.refused} == {
        "labels/original/b.nii.gz",
        "labels/final/old.nii.gz",
    }


def test_what_lies_beside_the_folders_of_images_is_listed(tmp_path):
    touch(tmp_path, "images/a.nii.gz", "labels/a.nii.gz", "previews/a.nii.gz", "notes.txt", "a.xyz", ".DS_Store")
    source = find(tmp_path)
    assert source.refused == [(str(tmp_path / "previews/a.nii.gz"), "lies outside the folders of images and labels")]
    assert source.not_read == {".txt": 1, ".xyz": 1, "hidden": 1}


def test_a_link_to_a_folder_that_was_read_is_counted(tmp_path):
    touch(tmp_path, "images/a.nii.gz")
    (tmp_path / "labels").symlink_to(tmp_path / "images", target_is_directory=True)
    source = find(tmp_path)
    assert pairs(source, tmp_path) == {"images/a.nii.gz": None}
    assert source.not_read == {"links to folders that were read": 1}


def test_linked_files_are_paired_by_the_names_of_the_links(tmp_path):
    touch(tmp_path / "elsewhere", "1.nii.gz", "2.nii.gz")
    for folder, target in (("images", "1"), ("labels", "2")):
        (tmp_path / "data" / folder).mkdir(parents=True)
        (tmp_path / "data" / folder / "case.nii.gz").symlink_to(tmp_path / "elsewhere" / f"{target}.nii.gz")
    assert pairs(find(tmp_path / "data"), tmp_path / "data") == {"images/case.nii.gz": "labels/case.nii.gz"}


def test_labels_elsewhere_are_paired_by_their_path_below_that_folder(tmp_path):
    touch(tmp_path, "scans/p1/ct.nii.gz", "scans/p2/ct.nii.gz", "truth/p2/ct.nii.gz", "truth/p1/ct.nii.gz")
    source = find(tmp_path / "scans", labels=tmp_path / "truth")
    assert pairs(source, tmp_path) == {f"scans/p{n}/ct.nii.gz": f"truth/p{n}/ct.nii.gz" for n in (1, 2)}
    one = find(tmp_path / "scans" / "p1" / "ct.nii.gz", labels=tmp_path / "truth" / "p1")
    assert pairs(one, tmp_path) == {"scans/p1/ct.nii.gz": "truth/p1/ct.nii.gz"}
    with pytest.raises(InputError, match="two labels"):
        find(tmp_path / "scans" / "p1" / "ct.nii.gz", labels=tmp_path / "truth")


def test_labels_elsewhere_are_called_after_the_case_of_a_pattern_or_have_no_channel(tmp_path):
    """PI-CAI and TopCoW."""
    for case in ("10000_1000000", "10001_1000001"):
        touch(
            tmp_path,
            *(f"images/fold0/{case[:5]}/{case}_{s}.mha" for s in ("t2w", "adc")),
            f"expert_labels/{case}.nii.gz",
        )
    touch(tmp_path, "expert_labels/10002_1000002.nii.gz")
    for pattern in ("{id}_t2w.mha", "*/*/{id}_t2w.mha"):
        source = find(tmp_path / "images", labels=tmp_path / "expert_labels", pattern=pattern)
        assert pairs(source, tmp_path) == {
            f"images/fold0/{c[:5]}/{c}_t2w.mha": f"expert_labels/{c}.nii.gz" for c in ("10000_1000000", "10001_1000001")
        }
        reason = "is a label without an image of that name"
        assert source.refused == [(str(tmp_path / "expert_labels/10002_1000002.nii.gz"), reason)]
    source = find(tmp_path, pattern="{id}_t2w.mha")
    (note,) = source.notes
    assert note.startswith("2 chosen images have no label") and note.endswith("say in which folder the labels are")
    assert source.advised == {"labels"}
    root = touch(tmp_path / "topcow", "imagesTr/ct_001_0000.nii.gz", "cow_seg_labelsTr/ct_001.nii.gz")
    ((_, reason),) = find(root).refused
    assert reason.endswith("say that the labels are in cow_seg_labelsTr")
    said = find(root, labels=root / "cow_seg_labelsTr")
    assert pairs(said, root) == {"imagesTr/ct_001_0000.nii.gz": "cow_seg_labelsTr/ct_001.nii.gz"} and not said.refused


def test_two_files_of_one_id_are_no_pair_of_a_pattern(tmp_path):
    touch(tmp_path, "a/1_ct.nii.gz", "b/1_ct.nii.gz", "a/1_seg.nii.gz", "b/1_seg.nii.gz")
    with pytest.raises(InputError, match="are both the label of '1'"):
        find(tmp_path, pattern="{id}_ct.nii.gz", label_pattern="{id}_seg.nii.gz")
    (tmp_path / "b/1_seg.nii.gz").unlink()
    with pytest.raises(InputError, match="may be the label of a/1_ct.nii.gz and of b/1_ct.nii.gz"):
        find(tmp_path, pattern="{id}_ct.nii.gz", label_pattern="{id}_seg.nii.gz")


def test_lists_of_validation_cases_are_read_and_missing_cases_are_told(tmp_path):
    root = msd(tmp_path, numTraining=7)
    touch(root, "imagesVa/v.nii.gz", "labelsVa/v.nii.gz")
    values = json.loads((root / "dataset.json").read_text())
    values["validation"] = [{"image": "./imagesVa/v.nii.gz", "label": "./labelsVa/v.nii.gz"}]
    (root / "dataset.json").write_text(json.dumps(values))
    source = find(root)
    assert pairs(source, root) == {
        "imagesTr/a.nii.gz": "labelsTr/a.nii.gz",
        "imagesVa/v.nii.gz": "labelsVa/v.nii.gz",
    }
    assert source.notes == ["dataset.json announces 7 training cases, 2 with image and label are here"]


def test_what_systems_and_network_drives_put_beside_the_files_is_hidden(tmp_path):
    """Scans that were deleted came back."""
    touch(
        tmp_path,
        "a.nii.gz",
        "__MACOSX/._a.nii.gz",
        "__MACOSX/a.nii.gz",
        "#recycle/b.nii.gz",
        "$RECYCLE.BIN/S-1/c.nii.gz",
    )
    touch(tmp_path, "p1/@eaDir/d.nii.gz", "#snapshot/GMT-2026.01.01/a.nii.gz", "@Recycle/e.nii.gz")
    source = find(tmp_path)
    assert pairs(source, tmp_path) == {"a.nii.gz": None} and source.not_read == {"hidden": 6}


def test_derivatives_of_bids_are_images_when_a_pattern_says_so_and_labels_are_those_of_their_space(tmp_path):
    """fMRIPrep's folders: preprocessed scans, their masks, and both once more in a standard space."""
    start = "sub-01/anat/sub-01"
    touch(
        tmp_path,
        *(
            f"{start}{space}{what}.nii.gz"
            for space in ("", "_space-MNI")
            for what in ("_desc-preproc_T1w", "_desc-brain_mask")
        ),
        f"{start}_label-GM_probseg.nii.gz",
    )
    assert not find(tmp_path).candidates
    source = find(tmp_path, pattern="{id}_desc-preproc_T1w.nii.gz")
    native, standard = f"{start}_desc-preproc_T1w.nii.gz", f"{start}_space-MNI_desc-preproc_T1w.nii.gz"
    assert pairs(source, tmp_path) == {
        native: f"{start}_desc-brain_mask.nii.gz",
        standard: f"{start}_space-MNI_desc-brain_mask.nii.gz",
    }
    source = find(tmp_path, pattern="sub-{id}/anat/sub-01_desc-preproc_T1w.nii.gz")
    assert pairs(source, tmp_path) == {native: f"{start}_desc-brain_mask.nii.gz"}
    assert [(os.path.basename(path), why) for path, why in source.refused] == [
        ("sub-01_space-MNI_desc-brain_mask.nii.gz", "is in another space than its image, which has a label")
    ]
    touch(tmp_path, f"{start}_dseg.nii.gz")
    with pytest.raises(InputError, match="has two labels") as told:
        find(tmp_path, pattern="{id}_desc-preproc_T1w.nii.gz")
    assert told.value.way_out == "label_pattern"


def test_labels_named_after_the_case_of_a_pattern_are_those_of_the_chosen_image(tmp_path):
    """HaN-Seg: a CT, an MR, and a segmentation for each organ, all named after the case."""
    for case in ("case_01", "case_02"):
        files = ("IMG_CT.nrrd", "IMG_MR_T1.nrrd", "OAR_Brainstem.seg.nrrd", "OAR_Mandible.seg.nrrd")
        touch(tmp_path, *(f"{case}/{case}_{file}" for file in files))
    source = find(tmp_path, pattern="{id}_IMG_CT.nrrd")
    assert [len(c.parts) for c in source.candidates] == [2, 2] and sorted(source.classes.values()) == [
        "OAR_Brainstem",
        "OAR_Mandible",
    ]
    touch(
        tmp_path, "case_01/reader_A.seg.nrrd", "case_03/x_IMG_CT.nrrd", "case_03/other_seg.nrrd", "case_03/y_seg.nrrd"
    )
    notes = " ".join(find(tmp_path, pattern="{id}_IMG_CT.nrrd").notes)
    assert "1 chosen image has no label" in notes and "case_03/other_seg.nrrd" in notes


def test_a_folder_of_structures_is_a_folder_of_masks(tmp_path):
    for case in ("0522c0001", "0522c0002"):
        touch(tmp_path, f"{case}/img.nrrd", *(f"{case}/structures/{n}.nrrd" for n in ("BrainStem", "Chiasm")))
    source = find(tmp_path)
    assert pairs(source, tmp_path) == {f"{case}/img.nrrd": f"{case}/structures" for case in ("0522c0001", "0522c0002")}
    assert source.classes == {1: "BrainStem", 2: "Chiasm"}
