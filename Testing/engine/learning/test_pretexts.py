"""What the pretexts of other works compare: vectors that follow the view, boundaries, pseudo-classes, dependence, parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hssl.configuration import NetworkConfig, PretrainConfig
from hssl.learning.augmentation import PRETRAINING, draw_warp, generators
from hssl.learning.losses.boundaries import boundaries
from hssl.learning.losses.dependence import distance_correlation
from hssl.learning.losses.vectors import vector_loss, view_vectors
from hssl.learning.pretexts import pretext_named
from hssl.learning.pretexts.clustering import pseudo_classes
from hssl.learning.pretexts.glmae import local_views
from hssl.learning.pretexts.mvmr import representations
from hssl.learning.pretexts.pretext import Pretext, TaskTable, Views
from hssl.models.network import build_network

CPU = torch.device("cpu")


def images_of(count: int, size: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3 if len(size) == 2 else 1, *size, generator=torch.Generator().manual_seed(seed))


def views_of(windows: torch.Tensor, patch: tuple[int, ...], seed: int = 0) -> Views:
    count = len(windows)
    numbers = np.arange(count)
    warps = [draw_warp(generators(seed, numbers, v), tuple(windows.shape[2:]), patch, PRETRAINING, CPU) for v in (0, 1)]
    clean = warps[0](windows), warps[1](windows)
    return Views(
        clean=clean,
        changed=(clean[0] * 1.1, clean[1] + 0.1),
        warps=(warps[0], warps[1]),
        tasks=torch.zeros(count, dtype=torch.long),
        volumes=torch.arange(count),
        axes=torch.zeros(count, dtype=torch.long),
        positions=torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)),
        extents=torch.full((count, 3), 0.5),
        rngs=generators(seed, numbers, 2),
    )


def pretext(name: str, dims: int = 2) -> Pretext:
    network = NetworkConfig(spatial_dims=dims, in_slices=3 if dims == 2 else 1)
    config = PretrainConfig(workspace="nowhere", network=network)
    torch.manual_seed(0)
    return pretext_named(name)(config, build_network(network, network.in_slices), TaskTable([0], [0]))


@pytest.mark.parametrize("name", ["vector", "clustering", "mvmr", "glmae"])
@pytest.mark.parametrize("dims", [2, 3])
def test_every_loss_is_told_and_has_a_gradient_in_slices_and_in_volumes(name, dims):
    module = pretext(name, dims)
    windows = images_of(4, (40,) * dims)
    losses = module(views_of(windows, (32,) * dims))
    assert set(losses) == {*module.loss_names, "total"}
    for loss in module.loss_names:
        assert torch.isfinite(losses[loss]) and losses[loss].requires_grad, loss
    losses["total"].backward()
    assert module.network.input_block.conv1.conv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["vector", "clustering", "mvmr", "glmae"])
def test_the_loss_falls_on_a_batch_that_is_seen_again(name):
    module = pretext(name)
    optimizer = torch.optim.AdamW(module.parameters(), 2e-3)
    totals = []
    for _ in range(25):
        total = module(views_of(images_of(6, (40, 40)), (32, 32)))["total"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert np.mean(totals[-3:]) < 0.95 * np.mean(totals[:3])


# Vector prediction -----------------------------------------------------------------------------------------------


def test_vectors_are_the_places_that_the_view_shows_at_its_centre_and_corners():
    """A volume whose voxels hold their own coordinates tells where the corners of a turned and zoomed view lie."""
    size, window, patch = (20, 80, 120), (64, 96), (32, 48)
    slice_index, row, column = 6, 5, 7
    rows = (np.arange(row, row + window[0]) + 0.5) / size[1] * 2 - 1
    columns = (np.arange(column, column + window[1]) + 0.5) / size[2] * 2 - 1
    windows = torch.from_numpy(np.stack(np.meshgrid(rows, columns, indexing="ij")).astype(np.float32))[None]
    warp = draw_warp([np.random.default_rng(3)], window, patch, PRETRAINING, CPU)
    centre = [(slice_index + 0.5) / size[0], (row + window[0] / 2) / size[1], (column + window[1] / 2) / size[2]]
    extent = [1 / size[0], window[0] / size[1], window[1] / size[2]]
    found = view_vectors(warp, torch.tensor([centre]), torch.tensor([extent]), torch.tensor([0]))[0]
    assert found.shape == (5, 3)
    assert torch.allclose(found[:, 2], torch.full((5,), 2 * 6.5 / 20 - 1))
    shown = warp(windows)[0]
    # The centre lies between the four voxels in the middle; corners are half a voxel beyond the first ones.
    middle = shown[:, 15:17, 23:25].mean((1, 2))
    assert torch.allclose(found[0, :2], middle.flip(0), atol=0.01)
    first = {(x, y): found[1 + 2 * (x > 0) + (y > 0), :2] for x in (-1, 1) for y in (-1, 1)}
    across = (first[1, -1] - first[-1, -1]).norm()
    assert across == pytest.approx((shown[:, 0, -1] - shown[:, 0, 0]).norm().item() * 48 / 47, rel=0.02)
    assert (first[-1, -1] - shown[:, 0, 0].flip(0)).norm() < 0.03


def test_the_error_of_vectors_is_that_of_length_and_direction():
    vectors = torch.tensor([[[0.6, 0.0, 0.8], [0.0, 0.5, 0.0]]])
    assert vector_loss(vectors, vectors).item() == pytest.approx(0, abs=1e-4)
    assert vector_loss(1.5 * vectors, vectors).item() == pytest.approx((0.5 + 0.25) / 2, abs=1e-4)
    turned = torch.tensor([[[0.6, 0.8, 0.0], [0.5, 0.0, 0.0]]])
    assert vector_loss(turned, vectors).item() == pytest.approx((1 - 0.36 + 0.5) / 2, abs=1e-4)
    both = torch.cat([vectors, turned]), torch.cat([vectors, vectors])
    assert vector_loss(*both, torch.tensor([True, False])).item() == pytest.approx(0, abs=1e-4)
    still = torch.zeros(1, 2, 3, requires_grad=True)
    vector_loss(still, vectors).backward()
    assert torch.isfinite(still.grad).all()


@pytest.mark.parametrize("dims", [2, 3])
def test_boundaries_are_where_intensities_change_whatever_their_unit(dims):
    image = torch.zeros(1, 2, *(20,) * dims)
    image[..., 10:] = 1
    edges = boundaries(image)
    assert edges.shape == image.shape
    assert (edges[..., 9:11] == 1).all() and (edges[..., :7] == 0).all() and (edges[..., 13:] == 0).all()
    assert torch.allclose(boundaries(700 * image - 1000), edges, atol=1e-3)
    assert torch.allclose(boundaries(image.flip(-1)), edges.flip(-1), atol=1e-5)
    assert (boundaries(torch.full((1, 1, *(8,) * dims), 5.0)) == 0).all()


# Feature clustering ----------------------------------------------------------------------------------------------


def test_pseudo_classes_are_the_groups_that_features_form_whatever_their_order_and_range():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(4, 10, generator=generator) * 5
    true = torch.arange(16) % 4
    features = centres[true] + 0.1 * torch.randn(16, 10, generator=generator)
    features[:, 3] *= 1e4
    found = pseudo_classes(features)
    assert torch.equal(found[:, None] == found[None], true[:, None] == true[None])
    order = torch.randperm(16, generator=generator)
    again = pseudo_classes(features[order])
    assert torch.equal(again[:, None] == again[None], true[order][:, None] == true[order][None])


def test_images_of_one_pseudo_class_do_not_repel_each_other(monkeypatch):
    module = pretext("clustering")
    views = views_of(images_of(6, (40, 40)), (32, 32))

    def image_loss(classes):
        monkeypatch.setattr("hssl.learning.pretexts.clustering.pseudo_classes", lambda features: classes)
        views.rngs[:] = generators(0, np.arange(6), 2)
        return module(views)["image"].item()

    every = image_loss(torch.arange(6))
    assert image_loss(torch.tensor([1, 1, 2, 2, 3, 3])) < every
    assert image_loss(torch.ones(6, dtype=torch.long)) == pytest.approx(0, abs=1e-5)


# MV-MR -----------------------------------------------------------------------------------------------------------


def test_distance_correlation_is_that_of_its_definition():
    """By loops over the definition of Székely et al. (2007), section 2.3."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(7, 3, generator=generator).double(), torch.randn(7, 2, generator=generator).double()

    def centred(samples):
        a = np.array([[float((p - q).norm()) for q in samples] for p in samples])
        return a - a.mean(0) - a.mean(1)[:, None] + a.mean()

    a, b = centred(x), centred(y)
    expected = np.sqrt((a * b).mean() / np.sqrt((a * a).mean() * (b * b).mean()))
    assert distance_correlation(x, y).item() == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="no pairs"):
        distance_correlation(x, y[:3])


def test_distance_correlation_is_one_for_what_is_turned_shifted_and_scaled_and_lower_for_the_rest():
    generator = torch.Generator().manual_seed(1)
    samples = torch.randn(60, 4, generator=generator)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=generator))[0]
    assert distance_correlation(samples, 3 * samples @ turn + 7).item() == pytest.approx(1, abs=1e-4)
    other = torch.randn(60, 4, generator=generator)
    assert distance_correlation(samples, other) < 0.6
    assert distance_correlation(samples, samples + 0.5 * other) > distance_correlation(samples, samples + 3 * other)
    same = torch.ones(5, 4, requires_grad=True)
    distance_correlation(same, samples[:5]).backward()
    assert torch.isfinite(same.grad).all()


@pytest.mark.parametrize("size", [(32, 40), (16, 16, 16)])
def test_representations_that_are_not_learned_tell_shapes_and_not_units(size):
    images = images_of(3, size)
    found, scaled = representations(images), representations(50 * images - 3)
    assert set(found) == {"intensities", "gradients", "texture"}
    for name, values in found.items():
        assert torch.allclose(values, scaled[name], atol=1e-4), name
    # Mirrored, what rose along the last axis falls.
    ramp = torch.linspace(0, 1, size[-1]).expand(1, 1, *size)
    rising, falling = (representations(i)["gradients"].view(1, 2 * len(size), -1) for i in (ramp, ramp.flip(-1)))
    assert rising[:, -2].min() > 0 and rising[:, -1].max() == 0
    assert falling[:, -1].min() > 0 and falling[:, -2].max() == 0


# GL-MAE ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(32, 48), (32, 32, 32)])
def test_local_views_are_parts_of_half_the_side_inside_the_image(size):
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in size], indexing="ij")
    images = torch.stack(axes)[None].repeat(20, 1, *[1] * len(size))
    local = local_views(images, [np.random.default_rng(i) for i in range(20)])
    assert local.shape == images.shape
    span = local.flatten(2).amax(2) - local.flatten(2).amin(2)
    assert torch.allclose(span, torch.full_like(span, 1.0), atol=0.06)
    corners = local.flatten(2).amin(2)
    assert corners.min() >= -1 and local.max() <= 1 and corners.std(0).min() > 0.1


def test_no_gradient_reaches_the_anchor():
    module = pretext("glmae")
    views = views_of(images_of(4, (40, 40)), (32, 32))
    views.clean[0].requires_grad_()
    views.clean[1].requires_grad_()
    losses = module(views)
    # Of the first view the consistency of local views sees the anchor alone.
    gradient = torch.autograd.grad(losses["local_consistency"], views.clean[0], allow_unused=True, retain_graph=True)[0]
    assert gradient is None or gradient.abs().sum() == 0
    assert torch.autograd.grad(losses["local_consistency"], views.clean[1])[0].abs().sum() > 0
