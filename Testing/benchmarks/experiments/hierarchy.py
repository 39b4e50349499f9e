"""What features tell of task and group, before and after pretraining: probes and a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import balanced_accuracy_score, silhouette_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hssl.configuration import Level
from hssl.events import ignore, never
from hssl.learning.sampling import Sampler
from hssl.models.description import ModelDescription
from hssl.models.model_file import load_model
from hssl.models.network import EncoderDecoder, build_network
from hssl.preprocessing.store import StoredVolume, build

from .runner import Runner

LEVELS: tuple[Level, ...] = ("bottleneck", "decoder")
AT_ONCE = 20


def result(runner: Runner) -> dict[str, Any]:
    """Returns for each network and level the probes' accuracies, the silhouettes, and points of two pictures.

    A linear probe learns on images that pretraining saw and is tested on those that it did not see. The same windows
    are shown to all networks. Silhouettes (Rousseeuw 1987) are those of the test windows' standardised features.
    """
    description, state = load_model(runner.pretrained(runner.main))
    torch.manual_seed(0)
    untrained = build_network(description.network, description.out_channels).state_dict()
    windows, tasks, seen = _windows(runner, description)
    groups = np.array([runner.data.catalogue.group_of(task) for task in tasks])
    found: dict[str, Any] = {"tasks": tasks[~seen].tolist(), "groups": groups[~seen].tolist(), "networks": {}}
    for name, weights in (("before", untrained), ("after", state)):
        network = build_network(description.network, description.out_channels)
        network.load_state_dict(weights)
        for level, values in _pooled(network.eval(), windows).items():
            of_level = found["networks"].setdefault(name, {})
            of_level[level] = _looked_at(values, {"task": tasks, "group": groups}, seen)
    return found


def _windows(runner: Runner, description: ModelDescription) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns windows, their tasks, and whether pretraining saw their images."""
    catalogue, unseen = runner.data.catalogue, set(runner.data.unseen())
    images = [i for t in description.tasks for i in catalogue.usable(t.name)]
    stored = build(catalogue, images, description.fingerprints, with_labels=False, on_event=ignore, stop=never)
    parts = []
    for seen in (True, False):
        volumes = [v for v in stored if (v.id not in unseen) == seen]
        parts.append((*_drawn(volumes, runner.preset.probe_windows, description), seen))
    return (
        np.concatenate([p[0] for p in parts]),
        np.concatenate([p[1] for p in parts]),
        np.concatenate([np.full(len(p[1]), p[2]) for p in parts]),
    )


def _drawn(volumes: list[StoredVolume], each: int, description: ModelDescription) -> tuple[np.ndarray, np.ndarray]:
    count = len({v.task for v in volumes})
    sampler = Sampler(volumes, description.patch_size, count * each, 0, description.network.in_slices)
    batch = sampler.batch(0)
    return batch.images, np.array(sampler.tasks)[batch.tasks]


@torch.inference_mode()
def _pooled(network: EncoderDecoder, windows: np.ndarray) -> dict[Level, np.ndarray]:
    """Mean and deviation of each channel over a window: behind an instance norm the mean alone says little."""
    parts: dict[Level, list[np.ndarray]] = {level: [] for level in LEVELS}
    for begin in range(0, len(windows), AT_ONCE):
        features = network.features(torch.from_numpy(windows[begin : begin + AT_ONCE]))
        for level, collected in parts.items():
            flat = features.level(level).flatten(2)
            collected.append(torch.cat([flat.mean(2), flat.std(2)], 1).numpy())
    return {level: np.concatenate(collected) for level, collected in parts.items()}


def _looked_at(values: np.ndarray, labels: dict[str, np.ndarray], seen: np.ndarray) -> dict[str, Any]:
    shown = StandardScaler().fit(values[seen]).transform(values[~seen])
    found: dict[str, Any] = {
        "pca": _plane(PCA(2, random_state=0).fit_transform(shown)),
        "tsne": _plane(TSNE(2, perplexity=min(30, len(shown) // 4), random_state=0).fit_transform(shown)),
    }
    for what, names in labels.items():
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        probe.fit(values[seen], names[seen])
        found[what] = {
            "probe": float(balanced_accuracy_score(names[~seen], probe.predict(values[~seen]))),
            "silhouette": float(silhouette_score(shown, names[~seen])),
        }
    return found


def _plane(points: np.ndarray) -> list[list[float]]:
    return [[round(float(x), 2), round(float(y), 2)] for x, y in points]
