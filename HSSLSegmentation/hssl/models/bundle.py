"""What a model file says to MONAI and to people: bundle metadata, network, README and licence, from the description.

Source: MONAI bundle specification and its metadata schema of 2024-07-25.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from .. import __version__
from ..workspace.seen import without_seen
from .architecture import dynunet_arguments
from .description import ModelDescription

SCHEMA = "https://project-monai.github.io/schema/meta_schema_20240725.json"
NETWORK_TARGET = "monai.networks.nets.DynUNet"
"""The only class that a bundle of ours names."""


def metadata(description: ModelDescription) -> dict[str, Any]:
    """Returns `configs/metadata.json`."""
    spatial, slices = list(description.patch_size), description.network.in_slices
    modalities = sorted({task.modality for task in description.tasks})
    classes = _channels(description)
    image = {
        "type": "image",
        "format": "hounsfield" if modalities == ["CT"] else "magnitude",
        "modality": _inert(", ".join(modalities)),
        "num_channels": slices,
        "spatial_shape": spatial,
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": True,
        "channel_def": {str(n): f"slice {n - slices // 2:+d}" for n in range(slices)},
    }
    prediction = {
        "type": "image",
        "format": "labels" if description.kind == "segmentation" else "magnitude",
        "num_channels": description.out_channels,
        "spatial_shape": spatial,
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": True,
        "channel_def": {str(n): name for n, name in enumerate(classes)},
    }
    return {
        "schema": SCHEMA,
        "version": "1.0.0",
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {"safetensors": version("safetensors")},
        "name": _inert(description.name),
        "task": _task_line(description),
        "description": f"{_task_line(description)} Trained with HSSL {__version__}.",
        "authors": "unknown",
        "copyright": f"Licence: {description.licence}" if description.licence else "No licence is stated.",
        "image_classes": "intensities normalised as configs/hssl.json says",
        "pred_classes": f"{description.out_channels} channels: {', '.join(classes)}",
        "eval_metrics": dict(description.figures),
        "intended_use": "Research. This is not a medical device.",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": prediction}},
    }


def inference(description: ModelDescription) -> dict[str, Any]:
    """Returns `configs/inference.json`: the network as MONAI builds it, into which the weights fit.

    It holds no expression. Of the names in this network's state dict, the file lacks those that begin with
    "skip_layers": DynUNet registers its blocks twice, and they are second names of the same tensors.
    """
    return {
        "network_def": {"_target_": NETWORK_TARGET, **dynunet_arguments(description.network, description.out_channels)}
    }


def readme(description: ModelDescription) -> str:
    """Returns `docs/README.md`."""
    network = description.network
    lines = [
        f"# {_line(description.name)}",
        "",
        _task_line(description),
        "",
        f"- Network: {network.spatial_dims}D, {network.size}, {network.in_slices} slice(s) in, "
        f"{description.out_channels} channels out",
        f"- Patches in training: {' × '.join(map(str, description.patch_size))} voxels",
        *(f"- {_line(name)}: {value:.4g}" for name, value in description.figures.items()),
        f"- Licence: {_line(description.licence) or 'none is stated'}",
        *(f"- Has learned from {_line(name)}: {_line(licence)}" for name, licence in description.sources.items()),
    ]
    for task in description.tasks:
        fingerprint = description.fingerprints[task.name]
        lines += [
            "",
            f"## {_line(task.name)}",
            "",
            f"Modality {_line(task.modality)}{', ' if task.anatomy else ''}{_line(task.anatomy)}; working spacing "
            f"{' × '.join(f'{s:.4g}' for s in fingerprint.spacing)} mm (z, y, x).",
        ]
        if description.kind == "segmentation":
            lines += ["", "| value | class |", "|---|---|", *(f"| {c.value} | {_line(c.name)} |" for c in task.classes)]
    if description.provenance:
        lines += ["", "## Provenance", ""]
        lines += [
            f"- {_line(name)}: {_line(str(value))}" for name, value in without_seen(description.provenance).items()
        ]
    lines += [
        "",
        "## Use",
        "",
        "With HSSL for 3D Slicer: import the zip file as it is (`hssl import`). With MONAI:",
        "",
        "```python",
        "parser = monai.bundle.ConfigParser()",
        'parser.read_config("configs/inference.json")',
        'network = parser.get_parsed_content("network_def")',
        'network.load_state_dict(safetensors.torch.load_file("models/model.safetensors"), strict=False)',
        "```",
        "",
        "For research. This is not a medical device.",
    ]
    return "\n".join(lines) + "\n"


def licence_text(description: ModelDescription) -> str:
    """Returns `LICENSE`."""
    return f"{description.licence or 'No licence is stated: ask the author before you pass this model on.'}\n"


def _task_line(description: ModelDescription) -> str:
    if description.kind == "pretrained":
        labels = "with the labels of" if _has_learned_labels(description) else "without labels on"
        return f"Encoder-decoder pretrained {labels}: {', '.join(_line(t.name) for t in description.tasks)}."
    names = ", ".join(_line(c.name) for c in description.tasks[0].classes)
    return f"Segmentation of {names} in {_line(description.tasks[0].modality)} volumes."


def _has_learned_labels(description: ModelDescription) -> bool:
    configuration = description.provenance.get("configuration")
    return isinstance(configuration, dict) and bool(configuration.get("with_labels"))


def _channels(description: ModelDescription) -> list[str]:
    if description.kind == "pretrained":
        return [f"reconstructed slice {n}" for n in range(description.out_channels)]
    return ["background", *(_inert(c.name) for c in description.tasks[0].classes)]


def _inert(text: str) -> str:
    """Returns text that MONAI's ConfigParser takes for text: it executes what begins with $ and follows % and @."""
    return _line(text).lstrip("$%@ ") or "unnamed"


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "/")
