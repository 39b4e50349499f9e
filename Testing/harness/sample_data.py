"""Slicer's module Sample Data: sources register themselves; a test calls their downloader as its button does."""

from __future__ import annotations

import sys
import types

import slicer

from .application import LoadableModule


class SampleDataSource:
    """What one button of the module offers."""

    def __init__(self, **described):
        self.__dict__.update(described)


class SampleDataLogic:
    """The calls that modules make to register their samples."""

    @staticmethod
    def registerCustomSampleDataSource(
        category="Custom",
        sampleName=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileTypes=None,
        loadFiles=None,
        loadFileProperties=None,
        checksums=None,
        loadFileType=None,
    ):
        if not uris and customDownloader is None:
            raise ValueError(f"The sample {sampleName} has neither an address nor a function that makes it")
        sources = slicer.modules.sampleDataSources.setdefault(category, [])
        if all(source.sampleName != sampleName for source in sources):
            sources.append(
                SampleDataSource(
                    sampleName=sampleName,
                    uris=uris,
                    fileNames=fileNames,
                    nodeNames=nodeNames,
                    customDownloader=customDownloader,
                    thumbnailFileName=thumbnailFileName,
                    loadFileType=loadFileTypes or loadFileType,
                    checksums=checksums,
                )
            )


def install() -> None:
    module = types.ModuleType("SampleData")
    module.SampleDataLogic = SampleDataLogic
    sys.modules["SampleData"] = module
    slicer.modules.sampleDataSources = {}
    slicer.modules.sampledata = LoadableModule("SampleData")
