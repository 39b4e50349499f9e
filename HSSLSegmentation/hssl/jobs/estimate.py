"""Estimate: what a pretraining will take in memory, before it starts."""

from __future__ import annotations

from ..configuration import PretrainConfig
from ..errors import ConfigurationError
from ..events import Done, OnEvent, Stop, ignore, never
from ..learning.memory import training_bytes
from ..learning.patches import batch_size, patch_size, shapes_in_planes, typical_shapes
from ..learning.start import Start
from ..models.device import chosen_device
from ..preprocessing.planes import planes_of
from ..preprocessing.store import expected_shapes
from ..results import EstimateResult
from ..workspace.catalogue import Catalogue
from ..workspace.presence import in_workspace


@in_workspace
def estimate(config: PretrainConfig, on_event: OnEvent = ignore, stop: Stop = never) -> Done[EstimateResult]:
    """Tells patch size, batch size and bytes of a pretraining, from the catalogue's headers alone.

    Returns:
        The Done event with an `EstimateResult`.

    Raises:
        ConfigurationError: there is no usable image, or a task, an id or the start is unknown.
    """
    catalogue = Catalogue.load(config.workspace)
    catalogue.require(config.exclude, "to be left out")
    names = [catalogue.task(name).name for name in config.tasks] or [t.name for t in catalogue.tasks]
    images = [i for i in catalogue.usable() if i.task in names and i.id not in config.exclude]
    network = Start.named(config.start, config.workspace).network(config.network)
    dims, tasks, seen = network.spatial_dims, [], []
    for name, (shape, fingerprint) in expected_shapes(catalogue, images).items():
        planes = shapes_in_planes(shape, planes_of(fingerprint, dims, config.planes))
        seen += planes
        tasks += [name] * len(planes)
    if not seen:
        raise ConfigurationError(f"{config.workspace}: there is no usable image to pretrain on")
    device = chosen_device(config.device)
    patch = patch_size(network, typical_shapes(seen, tasks), config.patch_size, device)
    size = batch_size(device, dims, config.batch_size)
    return Done(
        result=EstimateResult(
            bytes=training_bytes(network, patch, 2 * size, config.learns_from_start),
            patch_size=list(patch),
            batch_size=size,
            images=len(images),
            device=str(device),
        )
    )
