"""BIDS's and Slicer's tables of names beside label maps: which one is meant, what it says, what becomes of contradictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from hssl.configuration import AddConfig
from hssl.errors import InputError
from hssl.imaging.labels import named_values, read_label_map, structures_in
from hssl.imaging.name_tables import named_beside, tables_beside
from hssl.imaging.volumes import read_volume
from hssl.jobs.add import add
from hssl.workspace.catalogue import Catalogue, LabelClass
from hssl.workspace.identity import stamp_of_label
from hssl.workspace.labels import read_label

LABELS = np.zeros((6, 16, 16), np.uint8)
LABELS[1:3, 2:8, 2:8], LABELS[3:5, 8:14, 8:14] = 17, 53
ATLAS = "index\tname\tcolor\n0\tUnknown\t#000000\n" + "".join(
    f"{value}\t{({17: 'Left-Hippocampus', 53: 'Right-Hippocampus'}).get(value, f'region {value}')}\t#ff8000\n"
    for value in range(1, 900)
)
SUBJECT = "derivatives/fmriprep/sub-01/ses-1/anat"
LABEL = f"{SUBJECT}/sub-01_ses-1_desc-aseg_dseg.nii.gz"


def table(path: Path, *rows: str, head: str = "index\tname") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def label(path: Path, array: np.ndarray = LABELS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return path


@pytest.mark.parametrize(
    ("tables", "meant"),
    [
        (["derivatives/fmriprep/dseg.tsv"], 0),
        (["derivatives/fmriprep/dseg.tsv", "derivatives/fmriprep/desc-aseg_dseg.tsv"], 1),
        (["derivatives/fmriprep/desc-aparcaseg_dseg.tsv"], None),
        (["derivatives/fmriprep/desc-aseg_dseg.tsv", f"{SUBJECT}/sub-01_ses-1_dseg.tsv"], 1),
        ([f"{SUBJECT}/sub-02_ses-1_dseg.tsv", "derivatives/fmriprep/sub-01/sub-01_dseg.tsv"], 1),
        (["derivatives/dseg.tsv"], None),  # of another data set
        ([f"{SUBJECT}/sub-01_ses-1_desc-aseg_dseg.tsv", f"{SUBJECT}/desc-aseg_dseg.tsv"], 0),
        ([f"{SUBJECT}/sub-01_ses-1_desc-aseg_probseg.tsv", f"{SUBJECT}/._dseg.tsv"], None),
    ],
)
def test_the_nearest_table_with_most_of_the_labels_entities_is_meant(tmp_path, tables, meant):
    paths = [table(tmp_path / name, "1\ta") for name in tables]
    assert tables_beside(tmp_path / LABEL) == ([] if meant is None else [paths[meant]])
    assert tables_beside(tmp_path / SUBJECT / "sub-01_ses-1_mask.nii.gz") == []


def test_a_label_outside_of_a_subjects_folder_has_the_table_beside_it_alone(tmp_path):
    table(tmp_path / "dseg.tsv", "1\ta")
    table(tmp_path / "labels" / "a_dseg.tsv", "1\tb")
    assert [p.name for p in tables_beside(tmp_path / "labels" / "a_dseg.nii.gz")] == ["a_dseg.tsv"]
    assert tables_beside(tmp_path / "labels" / "b_dseg.nii.gz") == []


def test_of_a_table_of_an_atlas_the_names_of_what_is_there_are_taken_with_their_colors(tmp_path):
    path = label(tmp_path / LABEL)
    (tmp_path / "derivatives/fmriprep/dseg.tsv").write_text(ATLAS, encoding="utf-8")
    found = structures_in(path)
    assert [(s.value, s.name) for s in found] == [(17, "Left-Hippocampus"), (53, "Right-Hippocampus")]
    assert found[0].color == pytest.approx((1, 128 / 255, 0))
    assert {v: s.name for v, s in named_values(path).items()} == {17: "Left-Hippocampus", 53: "Right-Hippocampus"}
    chosen = sitk.GetArrayFromImage(read_label_map(path, structures=["right-hippocampus"]))
    np.testing.assert_array_equal(chosen > 0, LABELS == 53)
    label(path, np.where(LABELS == 17, 5, 0).astype(np.uint8))
    assert [s.name for s in structures_in(path)] == ["region 5"]


@pytest.mark.parametrize(
    ("rows", "head", "reason"),
    [
        (["17\ta", "17\tb"], "index\tname", "its table of names dseg.tsv names the value 17 twice: 'a' and 'b'"),
        (["x\ta"], "index\tname", "dseg.tsv has an index that is no whole number: 'x'"),
        (["17\ta"], "value\tname", "dseg.tsv has no column index"),
        (["17\ta"], "index\tabbreviation", "dseg.tsv has no column name"),
    ],
)
def test_a_table_that_contradicts_itself_or_lacks_a_column_is_refused_by_name(tmp_path, rows, head, reason):
    path = label(tmp_path / LABEL)
    table(tmp_path / "derivatives/fmriprep/dseg.tsv", *rows, head=head)
    for reading in (named_beside, structures_in, read_label_map):
        with pytest.raises(InputError) as told:
            reading(path)
        assert told.value.path == path and reason in told.value.reason and "take it away" in told.value.hint


def test_names_that_contradict_each_other_or_are_not_those_of_all_values_are_refused(tmp_path):
    path = label(tmp_path / LABEL)
    beside = tmp_path / "derivatives/fmriprep/dseg.tsv"
    table(beside, "17\thippocampus", "53\thippocampus")
    with pytest.raises(InputError, match="has two segments of one name: hippocampus"):
        read_label_map(path)
    table(beside, "17\tleft", "53\tn/a", "n/a\tright")
    with pytest.raises(InputError, match="names its values, and not all of them: 53"):
        read_label_map(path)
    table(beside.with_name("desc-aseg_dseg.tsv"), "17\tleft", "53\tright")
    assert len(structures_in(path)) == 2
    table(path.with_name("sub-01_desc-aseg_dseg.tsv"), "17\tleft")
    table(path.with_name("ses-1_desc-aseg_dseg.tsv"), "17\tright")
    with pytest.raises(InputError, match="may have its names from ses-1_desc-aseg_dseg.tsv and sub-01_desc-aseg_dseg"):
        structures_in(path)


def test_a_bids_data_set_has_the_classes_that_its_tables_name_and_a_corrected_table_counts(tmp_path):
    """The same structures in another order: values alone would teach that left is right."""
    for subject, (left, right) in {"01": (17, 53), "02": (53, 17)}.items():
        scan = tmp_path / f"data/sub-{subject}/anat/sub-{subject}_T1w.nii.gz"
        rng = np.random.default_rng(left)
        label(scan, rng.normal(100, 20, LABELS.shape).astype(np.int16))
        folder = tmp_path / f"data/derivatives/manual/sub-{subject}/anat"
        label(folder / f"sub-{subject}_dseg.nii.gz")
        table(folder / f"sub-{subject}_dseg.tsv", f"{left}\tleft", f"{right}\tright", "7\tnowhere")
    Catalogue.create(tmp_path / "w")
    config = AddConfig(workspace=tmp_path / "w", source=tmp_path / "data", task="t", modality="MR", check=True)
    assert not add(config).result.problems
    catalogue = Catalogue.load(tmp_path / "w")
    assert {c.name for c in catalogue.task("t").classes} == {"left", "right"}
    values = {c.name: c.value for c in catalogue.task("t").classes}
    for image, left in zip(catalogue.images, (17, 53), strict=True):
        found = read_label(catalogue, image, read_volume(catalogue.image_path(image)))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(found) == values["left"], left == LABELS)
    assert add(config).result.unchanged == 2
    before = stamp_of_label(catalogue.label_files(catalogue.images[0]))
    table(folder.parent.parent / "sub-01/anat/sub-01_dseg.tsv", "53\tleft", "17\tright", "9\tnowhere else")
    assert stamp_of_label(catalogue.label_files(catalogue.images[0])) != before
    assert add(config).result.changed == [catalogue.images[0].id]


CTBL = "# Color table file C:/x/Segmentation-label_ColorTable.ctbl\n# 5 values\n0 Background 0 0 0 0\n{rows}"
CSV = "LabelValue,Name,Color_R,Color_G,Color_B,Color_A,TypeCodeMeaning\n{rows}"


@pytest.mark.parametrize("end", [".nrrd", ".nii.gz", ".mha"])
@pytest.mark.parametrize(
    ("table", "text"),
    [
        (
            ".ctbl",
            CTBL.format(rows="17 artery 216 101 79 255\n18 (none) 0 0 0 0\n53 'connective_tissue' 0 255 0 255\n"),
        ),
        (".ctbl", CTBL.format(rows="\n53 connective_tissue 0 255 0 255\n17 artery 216 101 79\n")),
        (
            ".csv",
            CSV.format(rows="53,connective_tissue,0,255,0,255,Fascia\n17,artery,216,101,79,255,Artery\n9,,0,0,0,0,\n"),
        ),
    ],
)
def test_the_color_table_that_slicer_saves_with_a_label_map_names_its_values(tmp_path, end, table, text):
    path = label(tmp_path / f"Segmentation-label{end}")
    (tmp_path / f"Other-label_ColorTable{table}").write_text(text)
    assert structures_in(path) == []
    (tmp_path / f"Segmentation-label_ColorTable{table}").write_text(text)
    found = {s.name: s for s in structures_in(path)}
    assert {name: s.value for name, s in found.items()} == {"artery": 17, "connective_tissue": 53}
    assert found["artery"].color == pytest.approx((216 / 255, 101 / 255, 79 / 255))
    classes = [LabelClass(value=1, name="Connective_Tissue"), LabelClass(value=2, name="artery")]
    read = sitk.GetArrayFromImage(read_label_map(path, classes=classes))
    np.testing.assert_array_equal(read, np.where(LABELS == 17, 2, LABELS // 53))


def test_a_color_table_of_a_continuous_scale_names_nothing_and_two_tables_are_one_too_many(tmp_path):
    path = label(tmp_path / "a.nrrd")
    (tmp_path / "a_ColorTable.ctbl").write_text("# Color procedural file /x\n# 2 points\n17 0 0 0\n53 1 1 1\n")
    assert structures_in(path) == []
    (tmp_path / "a_ColorTable.csv").write_text(CSV.format(rows="17,artery,1,2,3,255,x\n"))
    (tmp_path / "a_ColorTable.ctbl").write_text(CTBL.format(rows="17 artery 1 2 3 255\n"))
    with pytest.raises(InputError, match="may have its names from a_ColorTable.ctbl and a_ColorTable.csv"):
        structures_in(path)


def test_label_maps_that_slicer_exported_in_another_order_are_the_same_classes(tmp_path):
    """Slicer numbers the segments that are visible: values alone would teach that the liver is the spleen."""
    for patient, names in {"p1": ("liver", "spleen"), "p2": ("spleen", "liver")}.items():
        folder = tmp_path / "data" / patient
        label(folder / "CT.nrrd", np.random.default_rng(len(names[0])).normal(0, 99, LABELS.shape).astype(np.int16))
        label(folder / "Segmentation-label.nrrd", np.searchsorted((0, 17, 53), LABELS).astype(np.uint8))
        rows = "".join(f"{value} {name} 9 9 9 255\n" for value, name in enumerate(names, 1))
        (folder / "Segmentation-label_ColorTable.ctbl").write_text(CTBL.format(rows=rows))
    Catalogue.create(tmp_path / "w")
    config = AddConfig(workspace=tmp_path / "w", source=tmp_path / "data", task="t", modality="CT", check=True)
    result = add(config).result
    assert not result.problems and result.not_read == {}
    catalogue = Catalogue.load(tmp_path / "w")
    assert {c.value: c.name for c in catalogue.task("t").classes} == {1: "liver", 2: "spleen"}
    for image, liver in zip(catalogue.images, (17, 53), strict=True):
        found = read_label(catalogue, image, read_volume(catalogue.image_path(image)))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(found) == 1, liver == LABELS)
