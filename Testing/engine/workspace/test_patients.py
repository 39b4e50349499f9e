"""Whose image it is, by the rule that the docstring of `patients_of` states."""

from __future__ import annotations

import pytest

from hssl.errors import ConfigurationError
from hssl.workspace.patients import Whose, patients_of
from hssl.workspace.places import Place


def of(*names: str, pattern: str = "") -> list[str]:
    return patients_of([Place.of(f"/data/{name}", "/data") for name in names], pattern)


@pytest.mark.parametrize(
    ("names", "patients"),
    [
        (["sub-01/anat/sub-01_T1w.nii", "sub-01/anat/sub-01_T2w.nii", "sub-02.nii"], ["sub-01", "sub-01", "sub-02"]),
        (["p1/ct.nii", "p1/mr.nii", "p2/ct.nii", "p2/mr.nii"], ["p1", "p1", "p2", "p2"]),
        (
            ["train/1/orig/t1.nii", "train/1/orig/t2.nii", "train/2/orig/t1.nii", "train/2/orig/t2.nii"],
            ["1", "1", "2", "2"],
        ),
        (["A/p1/ct.nii", "A/p1/mr.nii", "B/p2/ct.nii", "B/p2/mr.nii"], ["A_p1", "A_p1", "B_p2", "B_p2"]),
        (["B-1/B-1-t1c.nii", "B-1/B-1-t2f.nii", "B-2/B-2-t1c.nii", "B-2/B-2-t2f.nii"], ["B-1", "B-1", "B-2", "B-2"]),
        (["a_frame01.nii", "a_frame12.nii", "b_frame01.nii"], ["a", "a", ""]),
        (["knee7_left.nii", "knee7-right.nii", "knee8_left.nii"], ["knee7", "knee7", ""]),
        (["A1_ED.nii", "A1_ES.nii", "x.nii"], ["A1", "A1", ""]),
        (["c_visit1.nii", "c_visit2.nii"], ["c", "c"]),
        (["c_ct.nii", "c_pet.nii"], ["c", "c"]),
        # Cautious: numbers are cases, and a site is no patient.
        (["case_1.nii", "case_2.nii", "case_3.nii"], ["", "", ""]),
        (["siteA/001.nii", "siteA/002.nii", "siteB/001.nii", "siteB/002.nii"], ["", "", "", ""]),
        (["siteA/siteA_001.nii", "siteA/siteA_002.nii", "siteB/siteB_001.nii", "siteB/siteB_002.nii"], [""] * 4),
        (["left.nii", "right.nii"], ["", ""]),
        (["2021-03-04.nii", "2021-03-05.nii"], ["", ""]),
        # The parts of a dataset are no patients, though each has a case of that name.
        (["train/c0.nii", "train/c1.nii", "test/c0.nii", "test/c1.nii"], [""] * 4),
        (["imagesTr/c0.nii", "imagesTr/c1.nii", "imagesTs/c0.nii", "imagesTs/c1.nii"], [""] * 4),
        (["fold_0/c0.nii", "fold_0/c1.nii", "fold_1/c0.nii", "fold_1/c1.nii"], [""] * 4),
        (
            ["train/p1/ct.nii", "train/p1/mr.nii", "test/p2/ct.nii", "test/p2/mr.nii"],
            ["train_p1", "train_p1", "test_p2", "test_p2"],
        ),
        # Visits are a patient's: they stay together.
        (["p1/v1/ct.nii", "p1/v2/ct.nii", "p2/v1/ct.nii", "p2/v2/ct.nii"], ["p1", "p1", "p2", "p2"]),
        (["p1/2021-03-04/ct.nii", "p1/20220506/ct.nii", "p2/2021-03-04/ct.nii"], ["p1", "p1", "p2"]),
        (["in/p1/ses-1/ct.nii", "in/p1/ses-2/ct.nii", "in/p2/ses-1/ct.nii"], ["p1", "p1", "p2"]),
        (["baseline/p1.nii", "followup/p1.nii", "baseline/p2.nii", "followup/p3.nii"], ["p1", "p1", "", ""]),
        (["left/001.nii", "right/001.nii", "left/002.nii"], ["001", "001", ""]),
        (["images/a_left.nii", "other/a_right.nii"], ["", ""]),
        # Sites, and folders whose files are called cases.
        (["siteA/c0.nii", "siteA/c1.nii", "siteB/c0.nii", "siteB/c1.nii"], [""] * 4),
        (["Rome/patient1.nii", "Rome/patient2.nii", "Paris/patient1.nii", "Paris/patient2.nii"], [""] * 4),
        (["p1/s1.nii", "p1/s2.nii", "p2/s1.nii", "p2/s2.nii"], ["p1", "p1", "p2", "p2"]),
        (
            ["GE/case_0/t1.nii", "GE/case_0/t2.nii", "ABB/case_0/t1.nii", "ABB/case_0/t2.nii"],
            ["GE", "GE", "ABB", "ABB"],
        ),
        (
            ["0/orig/T1.nii", "0/orig/FLAIR.nii", "0/wmh.nii", "1/orig/T1.nii", "1/orig/FLAIR.nii", "1/wmh.nii"],
            ["0", "0", "0", "1", "1", "1"],
        ),
        # Dates, letters behind numbers, and slices.
        (
            ["pat0_20200101.nii", "pat0_2021-03-05.nii", "pat1_20200101.nii", "pat1_20210306.nii"],
            ["pat0", "pat0", "pat1", "pat1"],
        ),
        (["scan_20200101.nii", "scan_20210305.nii"], ["", ""]),
        (["001a.nii", "001b.nii", "002a.nii", "003.nii"], ["001", "001", "", ""]),
        (["p0_slice000.nii", "p0_slice001.nii", "p1_slice000.nii"], ["p0", "p0", ""]),
        # Names of data sets that go on with a number of a visit.
        (["BraTS-GLI-00000-000/x-t1c.nii", "BraTS-GLI-00000-001/x-t1c.nii"], ["BraTS-GLI-00000"] * 2),
        (["BraTS-MEN-RT-0003-1_t1c.nii", "UPENN-GBM-00001_21_T1.nii"], ["BraTS-MEN-RT-0003", "UPENN-GBM-00001"]),
        (
            ["ADNI_002_S_0295_MR_1.nii", "OAS1_0001_MR2.nii", "OAS30001_MR_d0129/T1.nii"],
            ["002_S_0295", "OAS1_0001", "OAS30001"],
        ),
        (
            ["TCGA-02-0006/a.nii", "train_1_a_1.nii", "train_1_b_2.nii", "train_1.nii"],
            ["TCGA-02-0006", "train_1", "train_1", ""],
        ),
        # A folder that is called a patient is one, whatever the files in it are called; so is a number that they begin with.
        (["patient01/1.nii", "patient01/2.nii", "patient02/x.nii"], ["patient01", "patient01", "patient02"]),
        (["Subject 3/CT/a.nii", "Subject 3/b.nii"], ["Subject 3", "Subject 3"]),
        (["10005/10005_1000006.nii", "10005/10005_1000007.nii", "10006/10006_1.nii"], ["10005", "10005", "10006"]),
        (["2019/2019_001.nii", "2019/2019_002.nii", "2020/2020_001.nii"], ["", "", ""]),
        # Numbers, scans and visits after a patient, and endings behind one another.
        (["patient1_1.nii", "patient1_2.nii", "patient2_1.nii"], ["patient1", "patient1", ""]),
        (["p1_visit_1.nii", "p1_visit_2.nii", "a_scan_1.nii", "a_scan_2.nii"], ["p1", "p1", "", ""]),
        (["0001_V1.nii", "0001_V2.nii", "7_scan1.nii", "7_scan_2.nii"], ["0001", "0001", "7", "7"]),
        (["ct_scan1.nii", "ct_scan2.nii", "liver_ct1.nii", "liver_ct2.nii"], [""] * 4),
        (["901_LEFT_V00.nii", "901_RIGHT_V01.nii", "902_LEFT_V00.nii"], ["901", "901", ""]),
        (["001_SA_ED.nii", "001_LA_ES.nii", "002_SA_ED.nii"], ["001", "001", ""]),
        # Dates as TCIA has them, and forms of one scan.
        (["p1/03-23-2003-NA-PET-7/CT.nii", "p1/05-02-2004-NA/CT.nii", "p2/01-01-2001/CT.nii"], ["p1", "p1", "p2"]),
        (["raw/a.nii", "raw/b.nii", "resampled/a.nii", "resampled/b.nii"], ["a", "b", "a", "b"]),
        (["p1/data/ct.nii", "p1/data/mr.nii", "p2/data/ct.nii", "p2/data/mr.nii"], ["p1", "p1", "p2", "p2"]),
    ],
)
def test_the_rule(names, patients):
    assert of(*names) == patients


def test_a_pattern_wins():
    names = ["u1/x_77_a.nii.gz", "u1/y_78_b.nii.gz", "odd.nii.gz"]
    assert of(*names, pattern="*_{patient}_*") == ["77", "78", ""]
    assert of(*names, pattern="{patient}/*") == ["u1", "u1", ""]
    assert of(*names, pattern="mr_miller") == ["mr_miller"] * 3
    with pytest.raises(ConfigurationError, match=r"fits no image, such as u1/x_77_a.nii.gz"):
        of(*names, pattern="{patient}-never")
    with pytest.raises(ConfigurationError, match="once"):
        of(*names, pattern="{patient}_{patient}")


@pytest.mark.parametrize(("names", "of_one"), [(8, True), (9, False)])
def test_a_folder_with_more_than_eight_names_is_no_patient(names, of_one):
    paths = [f"{patient}/{chr(97 + n)}{chr(97 + n)}.nii" for patient in ("p1", "p2") for n in range(names)]
    assert of(*paths) == [path[:2] if of_one else "" for path in paths]


def whose(counts: list[int], without: int = 0, told: bool = False) -> Whose:
    """Patients p0, p1, … with so many images each, and images of nobody."""
    named = [(f"p{p}", f"p{p}-{n}", told) for p, count in enumerate(counts) for n in range(count)]
    return Whose(named + [("", f"x{n}", False) for n in range(without)])


@pytest.mark.parametrize(
    ("given", "count", "who"),
    [
        (whose([], 3), 3, ""),
        (whose([1, 1], 1), 3, ""),
        (whose([1, 2, 1]), 3, "p1 (p1-0, p1-1)"),
        (whose([4, 5]), 2, "p0 (p0-0, p0-1, p0-2, p0-3), p1 (p1-0, p1-1, p1-2, p1-3 and 1 more)"),
        (whose([2, 2, 2]), 3, "p0 (p0-0, p0-1), p1 (p1-0, p1-1), p2 (p2-0, p2-1)"),
        (whose([2] * 5), 5, "p0 (p0-0, p0-1), p1 (p1-0, p1-1), p2 (p2-0, p2-1), and 2 more"),
    ],
)  # fmt: skip
def test_who_has_several_images_is_told_in_one_line(given, count, who):
    assert (given.count, given.lines()) == (count, [f"images of one patient stay together: {who}"] if who else [])


@pytest.mark.parametrize(
    ("given", "in_doubt"),
    [
        (whose([3], told=True), True),
        (whose([2], told=True), False),
        (whose([3]), False),
        (whose([3, 1], told=True), False),
        (whose([3], 1, told=True), False),
    ],
)
def test_a_patient_id_that_all_images_have_is_in_doubt_from_three_images_on(given, in_doubt):
    assert ("all have the same PatientID" in given.lines()[0]) == in_doubt
