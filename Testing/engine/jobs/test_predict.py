"""Prediction: on the source's own grid, bounded by slabs, one bad input never stops the others."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from dicom_files import write_series

from hssl.configuration import Budget, FinetuneConfig, NetworkConfig, PredictConfig
from hssl.errors import ConfigurationError, HSSLError, InputError, MemoryExhaustedError, OutputError
from hssl.events import Message, Progress, Stopped
from hssl.files import NOT_UTF8
from hssl.imaging.volumes import read_volume
from hssl.jobs.finetune import finetune
from hssl.jobs.predict import predict, sources_in
from hssl.models.description import ModelDescription
from hssl.models.find import find_model
from hssl.models.inference import Segmenter
from hssl.models.model_file import export_model, load_model, write_model
from hssl.models.network import build_network
from hssl.models.prediction import doubtful_size, predict_volume
from hssl.preprocessing.fingerprint import Fingerprint
from hssl.workspace.catalogue import Catalogue, LabelClass, Task


@pytest.fixture(scope="module")
def trained(shared_workspace, tmp_path_factory) -> tuple[Path, Path]:
    """A workspace and a run that has learned a little."""
    workspace = Path(shutil.copytree(shared_workspace, tmp_path_factory.mktemp("trained") / "workspace"))
    task = Catalogue.load(workspace).tasks[0].name
    config = FinetuneConfig(
        workspace=workspace, task=task, run="model", budget=Budget(steps=30), patch_size=32, batch_size=4,
        precision="float32", device="cpu", threads=1, mirror=True,
    )  # fmt: skip
    return workspace, finetune(config).result.run


def images(workspace: Path) -> list[Path]:
    catalogue = Catalogue.load(workspace)
    return [catalogue.image_path(i) for i in catalogue.usable(catalogue.tasks[0].name)]


def test_a_label_map_lies_exactly_on_its_volumes_grid(trained, tmp_path):
    workspace, run = trained
    volumes = [read_volume(p) for p in images(workspace)[:2]]
    odd = sitk.PermuteAxes(volumes[0], (2, 0, 1))
    odd.SetSpacing((0.7, 2.3, 1.9))
    odd.SetOrigin((-31.5, 12.25, 7))
    angle = np.deg2rad(20)
    odd.SetDirection((np.cos(angle), 0, -np.sin(angle), 0, -1, 0, -np.sin(angle), 0, -np.cos(angle)))
    sitk.WriteImage(odd, str(tmp_path / "odd one.nrrd"))
    sitk.WriteImage(volumes[1], str(tmp_path / "ünïcode.mha"))
    done = predict(
        PredictConfig(
            model=run,
            inputs=[tmp_path],
            output=tmp_path / "out",
            largest_component=False,
            uncertainty=True,
            probabilities=True,
        )  # fmt: skip
    )
    assert len(done.result.outputs) == 2 and not done.result.failed
    for entry in done.result.outputs:
        source = sitk.ReadImage(entry.input)
        files = [entry.label_map, entry.uncertainty, *entry.probabilities.values()]
        for file in files:
            result = sitk.ReadImage(file)
            assert result.GetSize() == source.GetSize()
            assert np.allclose(result.GetSpacing(), source.GetSpacing())
            assert np.allclose(result.GetOrigin(), source.GetOrigin(), atol=1e-4)
            assert np.allclose(result.GetDirection(), source.GetDirection(), atol=1e-5)
        labels = sitk.GetArrayFromImage(sitk.ReadImage(entry.label_map))
        shares = np.stack([sitk.GetArrayFromImage(sitk.ReadImage(f)) for f in entry.probabilities.values()])
        values = [c.value for c in Catalogue.load(workspace).tasks[0].classes]
        assert set(np.unique(labels)) <= {0, *values}
        everything = np.concatenate([1 - shares.sum(0, keepdims=True), shares])
        assert (labels == np.array([0, *values])[everything.argmax(0)]).mean() > 0.999
        doubt = sitk.GetArrayFromImage(sitk.ReadImage(entry.uncertainty))
        assert doubt.min() >= 0 and doubt.max() <= 1 + 1e-5 and doubt.std() > 0


def test_results_without_compression_are_the_same_and_lie_raw_in_their_files(trained, tmp_path):
    workspace, run = trained
    found = {}
    for compressed in (True, False):
        config = PredictConfig(
            model=run, inputs=images(workspace)[:1], output=tmp_path / str(compressed), compressed=compressed,
            uncertainty=True,
        )  # fmt: skip
        found[compressed] = predict(config).result.outputs[0]
    for name in ("label_map", "uncertainty"):
        one, other = (getattr(found[compressed], name) for compressed in (True, False))
        assert one.name.endswith(".nii.gz") and other.name.endswith(".nrrd")
        array = sitk.GetArrayFromImage(sitk.ReadImage(other))
        assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(one)), array)
        assert other.read_bytes().endswith(array.tobytes())


@pytest.mark.parametrize(
    ("size", "patch", "window"),
    [
        ((64, 64), (48, 48), (64, 64)),  # 1.25 patches, rounded up, are seen whole
        ((80, 64), (48, 48), (64, 64)),
        ((96, 160), (64, 64), (80, 80)),
        ((64, 640), (128, 112), (64, 144)),
    ],
)
def test_slices_much_larger_than_patches_are_seen_in_windows(trained, size, patch, window):
    description, state = load_model(trained[1])
    segmenter = Segmenter(description.model_copy(update={"patch_size": patch}), state, torch.device("cpu"))
    array = np.random.default_rng(0).normal(size=(3, *size)).astype(np.float32)
    seen, usual = [], segmenter.of_images
    segmenter.of_images = lambda images, axis: (seen.append(tuple(images.shape[2:])), usual(images, axis))[1]
    shares = segmenter.probabilities(array, 0.0, 0, 3)
    assert shares.shape[1:] == (3, *size) and set(seen) == {window}
    assert torch.allclose(shares.sum(0), torch.ones(3, *size), atol=1e-4)


def test_what_lies_far_away_in_a_large_slice_changes_nothing(trained):
    description, state = load_model(trained[1])
    segmenter = Segmenter(description.model_copy(update={"patch_size": (64, 64)}), state, torch.device("cpu"))
    array = np.random.default_rng(0).normal(size=(1, 64, 400)).astype(np.float32)
    changed = array.copy()
    changed[..., 320:] = 30 * changed[..., 320:] + 50
    shares, others = (segmenter.probabilities(a, 0.0, 0, 1)[..., :160] for a in (array, changed))
    assert torch.equal(shares, others)


def test_neither_slabs_nor_batches_change_the_mask(trained):
    workspace, run = trained
    volume = sitk.Expand(read_volume(images(workspace)[0]), (8, 8, 3))
    masks = []
    for batch, megabytes in ((8, 512), (3, 16)):
        segmenter = Segmenter(*load_model(run), torch.device("cpu"), batch)
        masks.append(sitk.GetArrayFromImage(predict_volume(volume, segmenter, slab_megabytes=megabytes).label_map))
    assert (masks[0] != masks[1]).mean() < 1e-4


def test_an_exported_model_gives_the_same_mask(trained, tmp_path):
    workspace, run = trained
    export_model(run, tmp_path / "model.zip", "CC0")
    volume = read_volume(images(workspace)[0])
    masks = [
        sitk.GetArrayFromImage(predict_volume(volume, Segmenter(*load_model(m), torch.device("cpu"))).label_map)
        for m in (run, tmp_path / "model.zip")
    ]
    assert np.array_equal(*masks)


@pytest.mark.parametrize("kept, told", [(None, True), (True, False), (False, False)])
def test_what_was_left_out_as_islands_is_told_where_nobody_asked_for_it(trained, tmp_path, monkeypatch, kept, told):
    """A lesion beside a larger one is no island to a reader, and nobody saw that it was gone."""
    workspace, run = trained
    scan = images(workspace)[0]
    first = load_model(run).description.tasks[0].classes[0]
    events: list = []

    def without(channels, which, least=1.0):
        found = channels == 1
        rest = found.copy()
        rest.reshape(-1)[np.flatnonzero(found)[: found.sum() * 3 // 4]] = False
        return np.where(rest, 0, channels)

    monkeypatch.setattr("hssl.models.prediction.largest_components", without)
    config = PredictConfig(model=run, inputs=[scan], output=tmp_path / "out", largest_component=kept)
    output = predict(config, events.append).result.outputs[0]
    texts = [e.text for e in events if isinstance(e, Message) and e.way_out == "islands"]
    assert texts == [f"Left out as islands: {first.name} in 1 of 1 volume, at most 25 % of it"] * told
    assert output.islands == ({} if kept is False else {first.name: pytest.approx(0.25, abs=0.05)})


def test_one_bad_input_is_listed_and_the_others_go_on(trained, tmp_path):
    workspace, run = trained
    (tmp_path / "broken.nii.gz").write_bytes(b"no volume")
    seen: list = []
    inputs = [tmp_path / "broken.nii.gz", images(workspace)[0], tmp_path / "absent"]
    done = predict(PredictConfig(model=run, inputs=inputs, output=tmp_path / "out"), seen.append)
    assert len(done.result.outputs) == 1
    assert {f.input.name for f in done.result.failed} == {"broken.nii.gz", "absent"}
    assert any(m.level == "error" and "broken.nii.gz" in m.text for m in seen if isinstance(m, Message))
    assert any(isinstance(e, Progress) and e.phase == "prediction" for e in seen)
    with pytest.raises(InputError, match="broken"):
        predict(PredictConfig(model=run, inputs=inputs[:1], output=tmp_path / "out2"))


def test_a_volume_that_does_not_fit_into_memory_is_listed_and_the_others_go_on(trained, tmp_path, monkeypatch):
    workspace, run = trained
    large, other = images(workspace)[:2]
    usual = predict_volume

    def exhausted(volume, *arguments):
        if str(large) in map(str, arguments):
            raise MemoryExhaustedError("the volume does not fit into memory")
        return usual(volume, *arguments)

    monkeypatch.setattr("hssl.jobs.predict.predict_volume", exhausted)
    seen: list = []
    done = predict(PredictConfig(model=run, inputs=[large, other], output=tmp_path / "out"), seen.append)
    assert [o.input for o in done.result.outputs] == [other] and [f.input for f in done.result.failed] == [large]
    assert any(isinstance(e, Message) and e.text.startswith("Computing on the CPU") for e in seen)
    with pytest.raises(MemoryExhaustedError):
        predict(PredictConfig(model=run, inputs=[large], output=tmp_path / "alone"))


def test_results_in_a_folder_are_not_predicted_again(trained, tmp_path):
    workspace, run = trained
    out = tmp_path / "out"
    predict(PredictConfig(model=run, inputs=images(workspace)[:1], output=out, uncertainty=True))
    with pytest.raises(InputError, match="holds 2 results of earlier predictions, and no other volume"):
        predict(PredictConfig(model=run, inputs=[out], output=tmp_path / "again"))
    (out / "new.nii.gz").write_bytes(images(workspace)[1].read_bytes())
    seen: list = []
    done = predict(PredictConfig(model=run, inputs=[out], output=tmp_path / "again"), seen.append)
    assert [o.input.name for o in done.result.outputs] == ["new.nii.gz"] and not done.result.failed
    assert any("left out: 2 results of earlier predictions" in e.text for e in seen if isinstance(e, Message))


def test_the_result_of_another_frame_is_other_work_and_does_not_give_way(trained, tmp_path):
    workspace, run = trained
    volume = read_volume(images(workspace)[0])
    later = sitk.Flip(volume, [True, False, False])
    later.CopyInformation(volume)
    sitk.WriteImage(sitk.JoinSeries([volume, later]), str(tmp_path / "cine.nii.gz"))
    config = PredictConfig(model=run, inputs=[tmp_path / "cine.nii.gz"], output=tmp_path / "out", frame=0)
    first = predict(config).result.outputs[0].label_map.read_bytes()
    assert predict(config).result.outputs[0].label_map.read_bytes() == first
    with pytest.raises(OutputError, match="cine.nii.gz: is there already"):
        predict(config.model_copy(update={"frame": 1}))
    assert (tmp_path / "out" / "cine.nii.gz").read_bytes() == first


def test_a_volume_whose_spacing_is_wrong_is_listed_with_the_reason(trained, tmp_path):
    workspace, run = trained
    huge = read_volume(images(workspace)[0])
    huge.SetSpacing([1000 * s for s in huge.GetSpacing()])  # metres taken for millimetres
    sitk.WriteImage(huge, str(tmp_path / "huge.nii.gz"))
    sitk.WriteImage(read_volume(images(workspace)[1]), str(tmp_path / "good.nii.gz"))
    done = predict(PredictConfig(model=run, inputs=[tmp_path], output=tmp_path / "out"))
    assert len(done.result.outputs) == 1
    assert "spacing or that one must be wrong" in done.result.failed[0].reason
    with pytest.raises(InputError, match=r"huge\.nii\.gz: has .* must be wrong"):
        predict(PredictConfig(model=run, inputs=[tmp_path / "huge.nii.gz"], output=tmp_path / "alone"))


@pytest.mark.parametrize(("factor", "told"), [(10.0, "has voxels of"), (0.1, "spans"), (1.0, "")])
def test_a_volume_in_another_unit_is_segmented_and_told(trained, tmp_path, factor, told):
    """Centimetres taken for millimetres, or the other way round: what comes of it looks like any other result."""
    volume = read_volume(images(trained[0])[0])[8:16, 8:16, :]
    if factor < 1:
        volume = read_volume(images(trained[0])[0])
    volume.SetSpacing([factor * s for s in volume.GetSpacing()])
    sitk.WriteImage(volume, str(tmp_path / "a.nii.gz"))
    events: list = []
    predict(PredictConfig(model=trained[1], inputs=[tmp_path], output=tmp_path / "out"), events.append)
    texts = [e.text for e in events if isinstance(e, Message) and e.level == "warning" and e.way_out != "islands"]
    assert len(texts) == bool(told) and all(f"it {told}" in text for text in texts), texts


def test_a_stop_ends_between_batches_of_slices(trained, tmp_path):
    workspace, run = trained
    segmenter = Segmenter(*load_model(run), torch.device("cpu"))
    with pytest.raises(Stopped):
        predict_volume(read_volume(images(workspace)[0]), segmenter, stop=lambda: True)
    done = predict(PredictConfig(model=run, inputs=images(workspace)[:1], output=tmp_path / "out"), stop=lambda: True)
    assert done.stopped and not list((tmp_path / "out").glob("*"))


def test_flips_are_left_out_where_training_did_not_mirror(trained):
    _, run = trained
    description, state = load_model(run)
    assert Segmenter(description, state, torch.device("cpu"), flips=True).flips
    plain = description.model_copy(update={"mirrored": False})
    assert not Segmenter(plain, state, torch.device("cpu"), flips=True).flips


def test_a_pretrained_network_is_no_segmentation_model(trained, tmp_path):
    _, run = trained
    description, state = load_model(run)
    from hssl.models.model_file import write_model

    write_model(tmp_path / "p.zip", description.model_copy(update={"kind": "pretrained"}), state)
    with pytest.raises(HSSLError, match="not a segmentation model"):
        predict(PredictConfig(model=tmp_path / "p.zip", inputs=[tmp_path], output=tmp_path))


def test_a_model_is_found_by_name_or_path_or_not_at_all(trained):
    workspace, run = trained
    assert find_model("model", workspace) == run and find_model(run) == run
    with pytest.raises(ConfigurationError, match="neither a run that has trained nor a model file"):
        find_model("nothing", workspace)
    with pytest.raises(ConfigurationError) as told:
        find_model("five\\runs\\nothing")
    assert str(told.value).startswith("five\\runs\\nothing is") and "named by its folder" in told.value.hint


def test_a_network_of_volumes_is_validated_and_predicts(shared_workspace, tmp_path):
    workspace = Path(shutil.copytree(shared_workspace, tmp_path / "workspace"))
    catalogue = Catalogue.load(workspace)
    task = catalogue.tasks[0].name
    held, *trained = [i.id for i in catalogue.usable(task, labelled=True)]
    config = FinetuneConfig(
        workspace=workspace, task=task, run="3d", budget=Budget(steps=2), patch_size=32, batch_size=1, threads=1,
        network=NetworkConfig(spatial_dims=3, in_slices=1), cases=trained, validation=[held], precision="float32",
        device="cpu",
    )  # fmt: skip
    done = finetune(config)
    assert done.result.validation_dice is not None
    source = images(workspace)[0]
    found = predict(PredictConfig(model=done.result.run, inputs=[source], output=tmp_path / "out", device="cpu"))
    label_map = sitk.ReadImage(found.result.outputs[0].label_map)
    assert label_map.GetSize() == sitk.ReadImage(str(source)).GetSize()


def test_where_every_input_fails_the_way_out_is_told(trained, tmp_path):
    volume = sitk.ReadImage(str(images(trained[0])[0]), sitk.sitkFloat32)
    array = sitk.GetArrayFromImage(volume)
    array[0, :3] = np.nan
    holed = sitk.GetImageFromArray(array)
    for name in ("a.nrrd", "b.nrrd"):
        sitk.WriteImage(holed, str(tmp_path / name))
    sitk.WriteImage(sitk.JoinSeries([volume, volume]), str(tmp_path / "c.nrrd"))
    config = PredictConfig(model=trained[1], inputs=[tmp_path / "a.nrrd", tmp_path / "b.nrrd"], output=tmp_path / "out")
    with pytest.raises(InputError) as told:
        predict(config)
    assert told.value.way_out == "nan_is_background" and told.value.hint.startswith("2 inputs failed.")
    with pytest.raises(InputError) as told:
        predict(config.model_copy(update={"inputs": [tmp_path / "c.nrrd"]}))
    assert told.value.way_out == "frame"


def test_a_folder_of_folders_stands_for_the_volumes_in_them(trained, tmp_path):
    for name in ("p1/ct.nii.gz", "p2/ct.nii.gz", "p2/ct_seg.nii.gz", "labels/p1.nii.gz"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(images(trained[0])[0], tmp_path / "in" / name)
    write_series(tmp_path / "in" / "p3")
    events: list = []
    found, failed = sources_in([tmp_path / "in"], events.append)
    assert ([s.name for s in found], failed) == (["p1_ct", "p2_ct", "p3"], [])
    assert "left out: 2 files in folders below it that are called labels" in events[0].text
    shutil.copy(images(trained[0])[0], tmp_path / "in" / "top.nii.gz")
    found, _ = sources_in([tmp_path / "in"], events.append)
    assert [s.name for s in found] == ["top"]
    assert "left out: 3 volumes in folders below it, which can be named" in events[-1].text
    (tmp_path / "nothing" / "here").mkdir(parents=True)
    assert [f.reason for f in sources_in([tmp_path / "nothing"])[1]] == ["holds no volume"]
    workspace = Catalogue.create(tmp_path / "five").workspace
    (workspace / "comparison.png").write_bytes(b"a plot")
    assert "is a workspace of HSSL" in sources_in([workspace])[1][0].reason


def test_what_cannot_be_opened_is_told_wherever_it_lies(trained, tmp_path):
    odd = os.fsdecode(b"m\xfcller")
    (tmp_path / "in" / odd).mkdir(parents=True)
    (tmp_path / "in" / "p1").mkdir()
    (tmp_path / "in" / "p1" / "away.nii.gz").symlink_to(tmp_path / "nowhere.nii.gz")
    shutil.copy(images(trained[0])[0], tmp_path / "in" / "p1" / "ct.nii.gz")
    found, failed = sources_in([tmp_path / "in"])
    assert [s.name for s in found] == ["ct"]
    reasons = {f.input.name: f.reason for f in failed}
    assert reasons == {"m\\udcfcller": NOT_UTF8, "away.nii.gz": "is a link to nothing, or no regular file"}
    shutil.copy(images(trained[0])[0], tmp_path / "in" / "top.nii.gz")
    found, failed = sources_in([tmp_path / "in"])
    assert ([s.name for s in found], [f.reason for f in failed]) == (["top"], [NOT_UTF8]), "those below are left out"
    _, failed = sources_in([tmp_path / "in" / odd, tmp_path / "in" / odd / "a.nii.gz"])
    assert [f.reason for f in failed] == [NOT_UTF8, NOT_UTF8]


def test_results_of_a_dicom_file_are_not_called_dicom(tmp_path):
    file = write_series(tmp_path / "series")[0]
    for name in ("IM0001.dcm", "IM0002.IMA", "1.2.840.3"):
        shutil.copy(file, tmp_path / name)
    events: list = []
    found, _ = sources_in([tmp_path / name for name in ("IM0001.dcm", "IM0002.IMA", "1.2.840.3")], events.append)
    assert ([s.name for s in found], events) == (["IM0001", "IM0002", "1.2.840.3"], [])


def test_a_scan_whose_name_is_not_utf_8_fails_and_the_others_go_on(trained, tmp_path):
    (tmp_path / "in").mkdir()
    for name in (b"m\xfcller.nii.gz", b"other.nii.gz"):
        shutil.copy(images(trained[0])[0], tmp_path / "in" / os.fsdecode(name))
    done = predict(PredictConfig(model=trained[1], inputs=[tmp_path / "in"], output=tmp_path / "out", device="cpu"))
    assert [o.label_map.name for o in done.result.outputs] == ["other.nii.gz"]
    assert [f.reason for f in done.result.failed] == [NOT_UTF8]
    assert "m\\\\udcfcller" in done.result.model_dump_json()
    with pytest.raises(OutputError, match="UTF-8"):
        predict(
            PredictConfig(
                model=trained[1], inputs=[tmp_path / "in"], output=tmp_path / os.fsdecode(b"\xfc"), device="cpu"
            )
        )


def test_labels_beside_the_scans_of_a_folder_are_left_out(trained, tmp_path):
    names = ("a.nii.gz", "a_seg.nii.gz", "b.nrrd", "b.seg.nrrd", "mask of nobody.nii.gz")
    for name in names:
        shutil.copy(images(trained[0])[0], tmp_path / name)
    events: list = []
    found, failed = sources_in([tmp_path], events.append)
    assert ([s.path.name for s in found], failed) == (["a.nii.gz", "b.nrrd", "mask of nobody.nii.gz"], [])
    assert "left out: 2 labels of the other volumes, by their names: a_seg.nii.gz, b.seg.nrrd" in events[0].text
    shutil.copy(tmp_path / "a.nii.gz", tmp_path / "a_mask.nii.gz")
    assert [s.path.name for s in sources_in([tmp_path])[0]] == ["a.nii.gz", "b.nrrd"]
    assert [s.path.name for s in sources_in([tmp_path / "a_seg.nii.gz"])[0]] == ["a_seg.nii.gz"], (
        "who names it means it"
    )


def test_a_sagittal_scan_of_thick_slices_is_coarse_to_a_model_of_axial_ones():
    axial = Fingerprint(spacing=(5, 1, 1), slice_axis=0, normalisation="percentiles", median_size=(20, 99, 99))
    volume = sitk.Image(99, 99, 20, sitk.sitkInt16)
    volume.SetSpacing((1.0, 1.0, 5.0))
    assert doubtful_size(volume, axial) == ""
    volume.SetDirection((0, 0, 1, 1, 0, 0, 0, -1, 0))  # its slices follow each other from right to left
    assert doubtful_size(volume, axial) == "has voxels of 5 × 1 × 1 mm, and the model was made for 1 × 1 × 5 mm"


def test_what_is_probably_no_scan_for_the_model_is_segmented_and_told(tmp_path):
    network = NetworkConfig(in_slices=1)
    description = ModelDescription(
        kind="segmentation",
        name="drawn",
        network=network,
        patch_size=(32, 32),
        tasks=[Task(name="t", modality="CT", classes=[LabelClass(value=1, name="a")])],
        fingerprints={
            "t": Fingerprint(
                spacing=(2, 1, 1), slice_axis=0, normalisation="window", median_size=(4, 16, 16),
                lower=-100, upper=300, center=50, scale=80,
            )
        },
        out_channels=2,
    )  # fmt: skip
    model = tmp_path / "model.zip"
    write_model(model, description, build_network(network, 2).state_dict())
    values = np.random.default_rng(0).normal(50, 60, (4, 32, 32)).astype(np.int16)
    volumes = {"hounsfield": values, "shifted": np.abs(values), "mask": np.where(values > 50, 100, 0).astype(np.int16)}
    for name, array in volumes.items():
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / f"{name}.nii.gz"))
    write_series(tmp_path / "ct", modality="CT")
    write_series(tmp_path / "mr", modality="MR")
    told: dict[str, str] = {}
    inputs = [*(tmp_path / f"{name}.nii.gz" for name in volumes), tmp_path / "ct", tmp_path / "mr"]
    config = PredictConfig(model=model, inputs=inputs, output=tmp_path / "out", dicom_segmentation=False)
    done = predict(
        config,
        lambda e: (
            told.update({e.text.partition(": ")[0]: e.text})
            if isinstance(e, Message) and e.level == "warning"
            else None
        ),
    )
    assert len(done.result.outputs) == 5
    assert {Path(path).name for path in told} == {"shifted.nii.gz", "mask.nii.gz", "mr"}
    assert "it has no value below 0" in told[str(tmp_path / "shifted.nii.gz")]
    assert "looks like a mask: it has two values only" in told[str(tmp_path / "mask.nii.gz")]
    assert "it is MR, and the model has learned CT" in told[str(tmp_path / "mr")]
