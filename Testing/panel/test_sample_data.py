"""The sample scans: registered once, generated without a download, and shown."""

from __future__ import annotations

import sys
import types

import slicer
from harness.fixtures import settle
from HSSLSegmentationLib import sampleData, settings


def test_the_source_is_registered_when_the_application_has_started(widget, monkeypatch):
    registered = []

    class SampleDataLogic:
        @staticmethod
        def registerCustomSampleDataSource(**source):
            registered.append(source)

    module = types.ModuleType("SampleData")
    module.SampleDataLogic = SampleDataLogic
    monkeypatch.setitem(sys.modules, "SampleData", module)
    monkeypatch.setattr(slicer.modules, "sampledata", object(), raising=False)
    sampleData.register()
    (source,) = registered
    assert source["customDownloader"] is sampleData.generate
    assert "uris" not in source
    from pathlib import Path

    assert Path(source["thumbnailFileName"]).is_file()


def test_without_the_module_sample_data_nothing_happens(widget, monkeypatch):
    monkeypatch.delattr(slicer.modules, "sampledata", raising=False)
    sampleData.register()


def test_the_scans_are_generated_once_and_become_the_panels_workspace(
    widget, tmp_path, generatedWorkspace, monkeypatch
):
    import shutil

    slicer.mrmlScene.GetCacheManager().SetRemoteCacheDirectory(str(tmp_path))
    made = []

    def create(self, path, size="demo", waitForCompletion=True):
        made.append(path)
        shutil.copytree(generatedWorkspace, path)

    monkeypatch.setattr(type(widget.logic), "createSampleWorkspace", create)
    volume = sampleData.generate()
    sampleData.generate()
    settle()
    assert made == [tmp_path / sampleData.WORKSPACE_NAME]
    assert volume.GetName() in [image.id for image in widget.panel.catalogue.images]
    assert widget.panel.workspace == str(made[0]) == settings.value("lastWorkspace")
