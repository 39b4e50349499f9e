"""Slicer's module Sample Data: sources register themselves; a test calls their downloader as its button does."""

from __future__ import annotations

import sys
import types

import slicer

from .application import LoadableModule


class SampleDataSource:
    """What one button of the module offers; as in 5.10 every list has a length, and all have the same."""

    def __init__(self, uris, fileNames, nodeNames, loadFiles, loadFileTypes, checksums, **described):
        if isinstance(uris, list | tuple):
            if isinstance(loadFileTypes, str) or loadFileTypes is None:
                loadFileTypes = [loadFileTypes] * len(uris)
            nodeNames = [None] * len(uris) if nodeNames is None else nodeNames
            loadFiles = [None] * len(uris) if loadFiles is None else loadFiles
            checksums = [None] * len(uris) if checksums is None else checksums
        elif isinstance(uris, str):
            uris, fileNames, nodeNames = [uris], [fileNames], [nodeNames]
            loadFiles, loadFileTypes, checksums = [loadFiles], [loadFileTypes], [checksums]
        if not (
            len(uris) == len(fileNames) == len(nodeNames) == len(loadFiles) == len(loadFileTypes) == len(checksums)
        ):
            raise ValueError("All fields of sample data source must have the same length")
        self.uris, self.fileNames, self.nodeNames = uris, fileNames, nodeNames
        self.loadFiles, self.loadFileTypes, self.checksums = loadFiles, loadFileTypes, checksums
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
                    loadFiles=loadFiles,
                    loadFileTypes=loadFileTypes or loadFileType,
                    checksums=checksums,
                )
            )


def install() -> None:
    module = types.ModuleType("SampleData")
    module.SampleDataLogic = SampleDataLogic
    sys.modules["SampleData"] = module
    slicer.modules.sampleDataSources = {}
    slicer.modules.sampledata = LoadableModule("SampleData")
