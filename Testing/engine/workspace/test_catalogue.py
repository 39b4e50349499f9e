from __future__ import annotations

import json
import multiprocessing
import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hssl.errors import ConfigurationError, HSSLError, LockedError, OutputError, WorkspaceError
from hssl.workspace.catalogue import FILE_NAME, Catalogue, Group, Image, LabelClass, Task


def filled(folder) -> Catalogue:
    catalogue = Catalogue.create(folder / "work space")
    catalogue.set_task(Task(name="liver", modality="CT", group="abdomen", classes=[LabelClass(value=1, name="liver")]))
    catalogue.set_task(Task(name="heart", modality="MR"))
    catalogue.add_images(
        [
            Image(id="a", task="liver", image="a.nii.gz", label="a_seg.nii.gz", content="1"),
            Image(id="b", task="liver", image="b.nii.gz", content="2"),
            Image(id="c", task="heart", image="c.nii.gz", label="c_seg.nii.gz", content="3"),
        ]
    )
    catalogue.save()
    return catalogue


def test_what_was_written_is_read_back(tmp_path):
    catalogue = filled(tmp_path)
    again = Catalogue.load(catalogue.workspace)
    assert again.tasks == catalogue.tasks
    assert again.images == catalogue.images
    assert [g.name for g in again.groups] == ["abdomen"]


def test_a_workspace_is_called_as_it_is_said_or_as_its_folder(tmp_path):
    for named, expected in (({}, "five scans"), ({"name": "Hearts"}, "Hearts")):
        workspace = Catalogue.create(tmp_path / expected / "five scans", **named).workspace
        assert Catalogue.load(workspace).name == expected


def test_a_workspace_is_not_created_over_another(tmp_path):
    catalogue = filled(tmp_path)
    with pytest.raises(WorkspaceError, match="already"):
        Catalogue.create(catalogue.workspace)
    assert len(Catalogue.load(catalogue.workspace).images) == 3


def test_a_workspace_in_a_folder_that_is_not_utf_8_is_refused_before_anything_is_made(tmp_path):
    odd = tmp_path / os.fsdecode(b"w\xfc")
    with pytest.raises(OutputError, match="UTF-8"):
        Catalogue.create(odd / "five")
    assert not odd.exists()
    Catalogue.create(tmp_path / "five")
    (tmp_path / "five").rename(odd)
    with pytest.raises(WorkspaceError, match="UTF-8"):
        Catalogue.load(odd)


@pytest.mark.parametrize("value", [0, -1, 65536])
def test_a_class_has_a_value_that_label_maps_can_have(value):
    with pytest.raises(ValidationError):
        LabelClass(value=value, name="liver")


def test_unknown_fields_survive_a_round_trip(tmp_path):
    path = filled(tmp_path).workspace / FILE_NAME
    values = json.loads(path.read_text(encoding="utf-8"))
    values["from_the_future"] = {"x": [1, 2]}
    values["tasks"][0]["vendor"] = "y"
    values["images"][1]["quality"] = 0.5
    path.write_text(json.dumps(values), encoding="utf-8")
    with Catalogue.editing(path.parent) as catalogue:
        catalogue.image("a").label = None
    after = json.loads(path.read_text(encoding="utf-8"))
    assert after["from_the_future"] == {"x": [1, 2]}
    assert after["tasks"][0]["vendor"] == "y"
    assert after["images"][1]["quality"] == 0.5
    assert after["images"][0]["label"] is None


def test_editing_keeps_the_catalogue_valid_or_changes_nothing(tmp_path):
    catalogue = filled(tmp_path)
    before = (catalogue.workspace / FILE_NAME).read_bytes()
    for edit in (
        lambda c: c.add_images([Image(id="d", task="liver", image="d"), Image(id="a", task="liver", image="a")]),
        lambda c: c.add_images([Image(id="d", task="nothing", image="d")]),
        lambda c: c.remove_images(["a", "nobody"]),
        lambda c: c.rename_task("liver", "heart"),
        lambda c: c.remove_task("nothing"),
        lambda c: c.tasks.append(Task(name="liver")),
        lambda c: c.groups.append(Group(name="abdomen")),
        lambda c: c.tasks.append(Task(name="new", group="nowhere")),
    ):
        with pytest.raises(ConfigurationError), Catalogue.editing(catalogue.workspace) as edited:
            edit(edited)
        assert (catalogue.workspace / FILE_NAME).read_bytes() == before


def test_renaming_and_removing_a_task_take_its_images_along(tmp_path):
    catalogue = filled(tmp_path)
    catalogue.rename_task("liver", "spleen")
    assert [i.task for i in catalogue.images] == ["spleen", "spleen", "heart"]
    catalogue.remove_task("spleen")
    assert [i.id for i in catalogue.images] == ["c"]


def test_a_group_that_nobody_is_in_is_dropped(tmp_path):
    catalogue = filled(tmp_path)
    catalogue.set_group("liver", "chest")
    assert [g.name for g in catalogue.groups] == ["chest"]
    catalogue.set_group("liver", "")
    assert catalogue.group_of("liver") == "liver"


def test_usable_images_are_those_without_a_problem(tmp_path):
    catalogue = filled(tmp_path)
    catalogue.image("b").problem = "is constant"
    catalogue.image("c").label_problem = "is empty"
    assert [i.id for i in catalogue.usable()] == ["a", "c"]
    assert [i.id for i in catalogue.usable(labelled=True)] == ["a"]
    assert [i.id for i in catalogue.usable(labelled=False)] == ["c"]


def test_two_classes_of_a_task_differ_in_value_and_name():
    with pytest.raises(ValueError, match="same value"):
        Task(name="x", classes=[LabelClass(value=1, name="a"), LabelClass(value=1, name="b")])
    with pytest.raises(ValueError, match="same name"):
        Task(name="x", classes=[LabelClass(value=1, name="a"), LabelClass(value=2, name="a")])


def test_the_workspace_can_be_moved(tmp_path):
    catalogue = filled(tmp_path)
    (catalogue.workspace / "a.nii.gz").write_bytes(b"here")
    moved = catalogue.workspace.rename(tmp_path / "anderswo")
    again = Catalogue.load(moved)
    assert again.image_path(again.image("a")).read_bytes() == b"here"


def test_paths_beside_the_workspace_are_kept_relative(tmp_path):
    catalogue = filled(tmp_path)
    assert catalogue.relative(tmp_path / "daten" / "ü.nii") == "../daten/ü.nii"
    assert catalogue.absolute("../daten/ü.nii") == tmp_path / "daten" / "ü.nii"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "not valid JSON"),
        ("[]", "not a catalogue"),
        ('{"images": []}', "not a catalogue"),
        ('{"schema": 99}', "Update"),
        ('{"schema": 1, "images": [{"id": ""}]}', "images.0"),
        ('{"schema": 1, "images": [{"id": "a", "task": "x", "image": "y"}]}', "unknown task"),
        ('{"schema": 1, "tasks": [{"name": "a"}, {"name": "a"}]}', "same name"),
        ('{"schema": 1, "tasks": [{"name": "a", "group": "g"}]}', "unknown group"),
    ],
)
def test_a_damaged_catalogue_says_where(tmp_path, text, expected):
    (tmp_path / FILE_NAME).write_text(text, encoding="utf-8")
    with pytest.raises(HSSLError) as caught:
        Catalogue.load(tmp_path)
    assert expected in f"{caught.value} {caught.value.hint}"


def test_what_no_json_can_hold_leaves_the_catalogue_as_it_was(tmp_path):
    catalogue = filled(tmp_path)
    before = (catalogue.workspace / FILE_NAME).read_bytes()
    with pytest.raises(OutputError, match="cannot be written"), Catalogue.editing(catalogue.workspace) as edited:
        edited.image("a").remark = os.fsdecode(b"caf\xe9")
    assert (catalogue.workspace / FILE_NAME).read_bytes() == before
    with pytest.raises(ValueError, match="finite"):
        catalogue.image("a").spacing = (1.0, float("nan"), 1.0)
    (catalogue.workspace / FILE_NAME).write_bytes(before.replace(b'"spacing": null', b'"spacing": [1, 1, Infinity]', 1))
    with pytest.raises(WorkspaceError, match=r"images\.0\.spacing\.2: .* finite"):
        Catalogue.load(catalogue.workspace)


def test_a_folder_that_is_no_workspace_gets_no_lock_file(tmp_path):
    with pytest.raises(WorkspaceError, match="not a workspace"), Catalogue.editing(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def _add_images(workspace, first, count):
    for number in range(first, first + count):
        with Catalogue.editing(workspace) as catalogue:
            catalogue.add_images([Image(id=f"n{number}", task="heart", image=f"{number}.nii")])


def test_two_processes_lose_none_of_each_other_s_edits(tmp_path):
    catalogue = filled(tmp_path)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_add_images, args=(catalogue.workspace, first, 25)) for first in (0, 100)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    ids = {i.id for i in Catalogue.load(catalogue.workspace).images}
    assert ids == {"a", "b", "c"} | {f"n{n}" for n in [*range(25), *range(100, 125)]}


def test_an_edit_waits_for_another_and_then_says_who_holds_it(tmp_path):
    workspace = filled(tmp_path).workspace
    with Catalogue.editing(workspace):
        start = time.monotonic()
        with pytest.raises(LockedError), Catalogue.editing(workspace, wait=0.2):
            pass
        assert time.monotonic() - start >= 0.2


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
known = st.sampled_from(
    ["schema", "name", "groups", "tasks", "images", "refused", "id", "task", "image", "label", "size"]
)
documents = st.recursive(
    values,
    lambda inner: st.dictionaries(known, inner | st.lists(inner, max_size=3), max_size=6),
    max_leaves=8,
).map(lambda v: {"schema": 1, **v} if isinstance(v, dict) and "schema" not in v else v)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(documents)
def test_any_json_is_a_catalogue_or_is_refused(tmp_path, document):
    (tmp_path / FILE_NAME).write_text(json.dumps(document), encoding="utf-8")
    try:
        catalogue = Catalogue.load(tmp_path)
    except HSSLError as error:
        assert FILE_NAME in str(error)
        return
    catalogue.save()
    assert Catalogue.load(tmp_path).images == catalogue.images


classes = st.lists(st.builds(LabelClass, value=st.integers(1, 255), name=st.text(min_size=1)), max_size=4)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.text(min_size=1), st.text(), st.text(min_size=1), classes, st.dictionaries(st.text(), values, max_size=3))
def test_any_text_in_names_survives_a_round_trip(tmp_path, task, group, path, labels, extra):
    unique = {c.value: c for c in {c.name: c for c in labels}.values()}
    document = {"schema": 1, "tasks": [{"name": task, "group": group, "classes": []}], "groups": [], "images": []}
    if group:
        document["groups"] = [{"name": group}]
    document["images"] = [{"id": task, "task": task, "image": path}]
    document["extra"] = extra
    (tmp_path / FILE_NAME).write_text(json.dumps(document), encoding="utf-8")
    try:
        catalogue = Catalogue.load(tmp_path)
    except HSSLError:
        assert any(0xD800 <= ord(c) < 0xE000 for c in task + group + path)  # not text that a file can hold
        return
    catalogue.task(task).classes = list(unique.values())
    catalogue.save()
    again = Catalogue.load(tmp_path)
    assert (again.tasks, again.images, again.groups) == (catalogue.tasks, catalogue.images, catalogue.groups)
    assert json.loads((tmp_path / FILE_NAME).read_text(encoding="utf-8"))["extra"] == extra


def test_an_image_in_doubt_is_not_used_until_it_is_confirmed(tmp_path):
    catalogue = Catalogue.create(tmp_path / "w")
    catalogue.set_task(Task(name="t"))
    catalogue.add_images([Image(id="a", task="t", image="a.nii"), Image(id="b", task="t", image="b.nii")])
    catalogue.image("b").doubt = "looks like a mask of a"
    before = catalogue.content_hash()
    assert [i.id for i in catalogue.usable()] == ["a"]
    catalogue.confirm_images(["b"])
    assert [i.id for i in catalogue.usable()] == ["a", "b"]
    assert catalogue.content_hash() != before
    with pytest.raises(ConfigurationError, match="no image with id 'c'"):
        catalogue.confirm_images(["a", "c"], False)
    assert catalogue.image("b").confirmed


def test_images_have_a_patient_or_are_one_of_their_own(tmp_path):
    catalogue = Catalogue.create(tmp_path / "w")
    catalogue.set_task(Task(name="t"))
    catalogue.add_images([Image(id=i, task="t", image=f"{i}.nii") for i in ("left", "right", "other")])
    catalogue.set_patient(["left", "right"], "p1")
    assert [catalogue.patient_of(i) for i in catalogue.images] == ["p1", "p1", "other"]
    with pytest.raises(ConfigurationError, match="no image"):
        catalogue.set_patient(["other", "none"], "p2")
    assert catalogue.image("other").patient == ""


def test_a_value_to_be_ignored_is_no_class():
    with pytest.raises(ValueError, match="to be ignored"):
        Task(name="t", classes=[LabelClass(value=1, name="a")], ignore_value=1)


def test_ids_that_nobody_has_are_named_with_what_was_probably_meant(tmp_path):
    catalogue = Catalogue.create(tmp_path / "w")
    catalogue.set_task(Task(name="t"))
    catalogue.add_images([Image(id="case_01", task="t", image="a.nii")])
    catalogue.require([], "to be left out")
    catalogue.require(["case_01"], "to be left out")
    with pytest.raises(ConfigurationError, match=r"no image to be left out with id 'case_1' \(there is 'case_01'\)"):
        catalogue.require(["case_01", "case_1"], "to be left out")
    with pytest.raises(ConfigurationError, match="and 4 more"):
        catalogue.require([str(n) for n in range(9)], "to be left out")


def test_names_of_classes_that_differ_in_capitals_only_are_one_name():
    with pytest.raises(ValueError, match="same name"):
        Task(name="t", classes=[LabelClass(value=1, name="Lesion"), LabelClass(value=2, name="lesion")])
