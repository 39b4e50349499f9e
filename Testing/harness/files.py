"""`slicer.app.coreIOManager()`: reads and writes nodes through their real storage nodes."""

from __future__ import annotations

import os

import slicer

_EXTENSIONS = {
    "SegmentationFile": (".seg.nrrd", ".seg.nhdr"),
    "SequenceFile": (".seq.nrrd", ".seq.nhdr"),
    "VolumeFile": (".nrrd", ".nhdr", ".nii.gz", ".nii", ".mha", ".mhd", ".mgz"),
    "MarkupsFile": (".mrk.json",),
    "TableFile": (".tsv", ".csv"),
    "ModelFile": (".vtk", ".vtp", ".stl", ".ply", ".obj"),
    "TransformFile": (".h5", ".tfm", ".mat"),
    "TextFile": (".txt",),
    "SceneFile": (".mrml", ".mrb"),
}
_NODES = {
    "TableFile": "vtkMRMLTableNode",
    "ModelFile": "vtkMRMLModelNode",
    "TransformFile": "vtkMRMLTransformNode",
    "TextFile": "vtkMRMLTextNode",
}
_LABEL_MAP, _SINGLE_FILE = 1, 8  # vtkSlicerVolumesLogic::LoadingOptions


def _nameOf(path: str) -> str:
    name = os.path.basename(path)
    for extensions in _EXTENSIONS.values():
        for extension in extensions:
            if name.lower().endswith(extension):
                return name[: -len(extension)]
    return name


class CoreIOManager:
    """The part of qSlicerCoreIOManager that `slicer.util.load…` and `save…` call."""

    def fileType(self, path):
        for kind, extensions in _EXTENSIONS.items():
            if str(path).lower().endswith(extensions):
                return kind
        return "NoFile"

    def fileWriterFileType(self, node):
        for kind, className in {
            **_NODES,
            "SegmentationFile": "vtkMRMLSegmentationNode",
            "SequenceFile": "vtkMRMLSequenceNode",
            "VolumeFile": "vtkMRMLVolumeNode",
            "MarkupsFile": "vtkMRMLMarkupsNode",
        }.items():
            if node.IsA(className):
                return kind
        return "NoFile"

    def loadNodes(self, kind, properties, loaded=None, messages=None):
        path = str(properties["fileName"])
        if kind == "SceneFile":
            return self._loadScene(path, properties.get("clear", False))
        name = properties.get("name") or _nameOf(path)
        node = self._load(kind, path, name, properties, messages)
        if node is None:
            return False
        if loaded is not None:
            loaded.AddItem(node)
        return True

    def _load(self, kind, path, name, properties, messages):
        scene = slicer.mrmlScene
        if not os.path.isfile(path):
            return None
        if kind == "VolumeFile":
            options = (_LABEL_MAP if properties.get("labelmap") else 0) | (
                _SINGLE_FILE if properties.get("singleFile", True) else 0
            )
            return slicer.modules.volumes.logic().AddArchetypeVolume(path, name, options)
        if kind == "SegmentationFile":
            return slicer.modules.segmentations.logic().LoadSegmentationFromFile(path, True, name)
        if kind == "MarkupsFile":
            identifier = slicer.modules.markups.logic().LoadMarkups(path, name)
            return scene.GetNodeByID(identifier) if identifier else None
        if kind == "SequenceFile":
            node = scene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
            storage = scene.AddNewNodeByClass("vtkMRMLVolumeSequenceStorageNode")
            node.SetAndObserveStorageNodeID(storage.GetID())
        elif kind in _NODES:
            node = scene.AddNewNodeByClass(_NODES[kind], name)
            node.AddDefaultStorageNode(path)
            storage = node.GetStorageNode()
        else:
            return None
        storage.SetFileName(path)
        if storage.ReadData(node):
            return node
        if messages is not None:
            messages.AddMessages(storage.GetUserMessages())
        scene.RemoveNode(storage)
        scene.RemoveNode(node)
        return None

    def _loadScene(self, path, clear):
        scene = slicer.mrmlScene
        if path.endswith(".mrb"):
            return bool(scene.ReadFromMRB(path, clear))
        scene.SetURL(path)
        return bool(scene.Connect() if clear else scene.Import())

    def loadScene(self, path, clear=True):
        return self._loadScene(str(path), clear)

    def saveNodes(self, kind, properties, messages=None):
        path = str(properties["fileName"])
        if kind == "SceneFile":
            return self._saveScene(path)
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        if not node.GetStorageNode():
            node.AddDefaultStorageNode(path)
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        if "useCompression" in properties:
            storage.SetUseCompression(bool(properties["useCompression"]))
        written = bool(storage.WriteData(node))
        if not written and messages is not None:
            messages.AddMessages(storage.GetUserMessages())
        return written

    def _saveScene(self, path):
        if path.endswith(".mrb"):
            return bool(slicer.mrmlScene.WriteToMRB(path))
        slicer.mrmlScene.SetURL(path)
        return bool(slicer.mrmlScene.Commit())

    def saveScene(self, path, properties=None):
        return self._saveScene(str(path))
