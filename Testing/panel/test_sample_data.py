"""The sample scans: registered once, generated without a download, and shown."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import qt

import slicer
from harness.fake_process import FakeProcess
from harness.fixtures import settle
from HSSLSegmentationLib import installation, sampleData, settings


def test_the_source_is_registered_as_slicer_5_10_takes_it(widget):
    slicer.modules.sampleDataSources = {}
    sampleData.register()
    sampleData.register()
    (source,) = slicer.modules.sampleDataSources["HSSL"]
    assert source.customDownloader is sampleData.generate
    assert source.uris == source.fileNames == source.nodeNames == []
    assert Path(source.thumbnailFileName).is_file()


def test_a_source_without_lists_is_refused_as_slicer_5_10_does():
    import SampleData

    with pytest.raises(TypeError):
        SampleData.SampleDataLogic.registerCustomSampleDataSource(sampleName="x", customDownloader=print)


def test_without_the_module_sample_data_nothing_happens(widget, monkeypatch):
    monkeypatch.delattr(slicer.modules, "sampledata", raising=False)
    sampleData.register()


@pytest.fixture
def made(widget, tmp_path, monkeypatch, generatedWorkspace):
    """The processes that make the scans; when one has made them the test says so."""
    slicer.mrmlScene.GetCacheManager().SetRemoteCacheDirectory(str(tmp_path))
    processes: list[FakeProcess] = []

    def make():
        processes.append(FakeProcess())
        return processes[-1]

    real = type(widget.logic).__init__
    monkeypatch.setattr(type(widget.logic), "__init__", lambda self: real(self, makeProcess=make))
    return processes


def later(act) -> None:
    qt.QTimer.singleShot(50, act)


def test_the_scans_are_generated_once_and_become_the_panels_workspace(widget, made, tmp_path, generatedWorkspace):
    folder = tmp_path / sampleData.WORKSPACE_NAME

    def finish():
        made[0].say({"event": "phase", "name": "generate", "index": 1, "count": 2})
        assert sampleData.generate() is None, "a second click while the first is at work starts nothing"
        shutil.copytree(generatedWorkspace, folder)
        made[0].say({"event": "done", "result": {"workspace": str(folder), "images": 1}})
        made[0].end(0)

    later(finish)
    volume = sampleData.generate()
    assert sampleData.generate() is volume
    settle()
    assert len(made) == 1
    assert volume.GetName() in [image.id for image in widget.panel.catalogue.images]
    assert widget.panel.workspace == str(folder) == settings.value("lastWorkspace")


def test_a_reason_why_there_are_no_scans_is_told(widget, made, caplog):
    def fail():
        made[0].say({"event": "failed", "kind": "OutputError", "message": "the disk is full", "hint": "Make room."})
        made[0].end(1)

    later(fail)
    assert sampleData.generate() is None
    assert "the disk is full" in caplog.text and "Make room." in caplog.text
    assert not sampleData._making


def test_without_the_packages_the_way_to_them_is_shown(widget, made, caplog, monkeypatch):
    monkeypatch.setattr(installation, "canReadCatalogues", lambda: False)
    opened = []
    monkeypatch.setattr(slicer.util, "selectModule", opened.append)
    assert sampleData.generate() is None
    assert "Install the packages" in caplog.text and not made
    assert opened == ["HSSLSegmentation"]


def test_cancelling_the_bar_stops_the_making(widget, made, monkeypatch):
    bars = []
    real = slicer.util.createProgressDialog
    monkeypatch.setattr(slicer.util, "createProgressDialog", lambda **how: bars.append(real(**how)) or bars[-1])

    def cancel():
        bars[0].findChild(qt.QPushButton).click()
        assert sampleData._making[0].state == "stopping"
        made[0].say({"event": "done", "stopped": True, "result": {}})
        made[0].end(10)

    later(cancel)
    assert sampleData.generate() is None
    assert not sampleData._making
