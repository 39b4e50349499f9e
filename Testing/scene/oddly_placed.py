"""Nodes that stand oddly in the scene: rotated, anisotropic, left-handed, moved."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

import slicer

SHAPE = (6, 7, 9)


def orientation(seed: int, leftHanded: bool) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.random(random_state=seed).as_matrix() * [0.7, 1.3, 2.5]
    matrix[:3, 3] = [10.5, -20.25, 33.0]
    if leftHanded:
        matrix[:3, 2] *= -1
    return matrix


def volumeWith(matrix: np.ndarray, name: str = "CT", values=None):
    array = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE) if values is None else values
    node = slicer.util.addVolumeFromArray(array, name=name)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    return node


def linearTransform(matrix: np.ndarray):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "move")
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    return node
