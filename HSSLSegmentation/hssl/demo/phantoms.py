"""Drawn anatomy for the demo: an abdomen in CT, a head and a heart in MR, another one for every random state.

Organs are level sets (negative inside, about mm) on coordinates that a smooth random field has bent, painted one over
the other with their partial volume. Many neighbours share the value of the structure that is to be segmented, so that
it can only be told by its shape and position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]
"""One value a voxel, in z, y, x order."""
Labels = NDArray[np.uint8]
Point = tuple[float, float, float]
"""x (to the left), y (to the back), z (to the head) in mm from the middle of the volume."""


class Canvas:
    """A volume that structures are painted on.

    Args:
        rng: source of all that differs between two drawings.
        size: voxels in z, y, x.
        spacing: mm in z, y, x.
        bend: mm by which the anatomy is bent at random (standard deviation).
        cell: mm over which the bending changes.
        turn: degrees by which the anatomy is turned in the slice at random (standard deviation).
    """

    def __init__(
        self,
        rng: np.random.Generator,
        size: Sequence[int],
        spacing: Sequence[float],
        bend: float,
        cell: float,
        turn: float = 4.0,
    ):
        self.rng, self.size, self.spacing = rng, tuple(size), tuple(spacing)
        self.image: Field = np.zeros(self.size, np.float32)
        self.label: Labels = np.zeros(self.size, np.uint8)
        z, y, x = np.meshgrid(
            *((np.arange(n, dtype=np.float32) - (n - 1) / 2) * s for n, s in zip(size, spacing, strict=True)),
            indexing="ij",
        )
        angle = np.deg2rad(self.about(0, turn))
        x, y = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y
        self.x, self.y, self.z = ((axis + bend * self.field(cell)).astype(np.float32) for axis in (x, y, z))
        self.grain = 0.7 * self.field(14) + 0.7 * self.field(6)

    def about(self, mean: float, spread: float) -> float:
        """Returns a normal random number that never strays further than two spreads."""
        return mean + spread * float(np.clip(self.rng.standard_normal(), -2, 2))

    def field(self, cell: float) -> Field:
        """Returns a smooth random field of mean 0 and variance 1 that changes over `cell` mm."""
        weights = []
        for count, step in zip(self.size, self.spacing, strict=True):
            knots = np.arange(-1, np.ceil(count * step / cell) + 2) * cell
            offsets = (np.arange(count)[:, None] * step - knots[None, :]) / cell
            weight = np.exp(-0.5 * (offsets / 0.6) ** 2)
            weights.append((weight / np.linalg.norm(weight, axis=1, keepdims=True)).astype(np.float32))
        knot_values = self.rng.standard_normal([w.shape[1] for w in weights], dtype=np.float32)
        for weight in weights:
            knot_values = np.moveaxis(np.tensordot(weight, knot_values, (1, 0)), 0, -1)
        return np.ascontiguousarray(knot_values)

    def paint(self, level: Field, value: float | Field, label: int = 0, grain: float = 0.0) -> None:
        """Paints the inside of a level set, and gives the voxels whose centre is inside the label."""
        change = np.sqrt(sum(np.gradient(level, axis=axis) ** 2 for axis in range(3)))
        share = np.clip(0.5 - level / np.maximum(change, 1e-3), 0, 1)
        self.image += share * (value + grain * self.grain - self.image)
        self.label[level < 0] = label

    # Shapes ----------------------------------------------------------------------------------------------------

    def ellipsoid(self, center: Point, radii: Point, turn: float = 0.0, tilt: float = 0.0, rough: float = 0.0) -> Field:
        """Returns an ellipsoid, turned in the slice and tilted in the x–z plane by degrees, with a bumpy surface."""
        x, y, z = self.x - center[0], self.y - center[1], self.z - center[2]
        if turn:
            c, s = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
            x, y = c * x + s * y, c * y - s * x
        if tilt:
            c, s = np.cos(np.deg2rad(tilt)), np.sin(np.deg2rad(tilt))
            x, z = c * x + s * z, c * z - s * x
        near = np.sqrt((x / radii[0]) ** 2 + (y / radii[1]) ** 2 + (z / radii[2]) ** 2)
        steep = np.sqrt((x / radii[0] ** 2) ** 2 + (y / radii[1] ** 2) ** 2 + (z / radii[2] ** 2) ** 2)
        level = near * (near - 1) / np.maximum(steep, 1e-6)
        return level + rough * self.field(1.5 * min(radii)) if rough else level

    def tube(self, points: Sequence[Point], radii: Sequence[float] | float, rough: float = 0.0) -> Field:
        """Returns a tube along a line of points, with one radius for all or one for each point."""
        if not isinstance(radii, Sequence):
            radii = [radii] * len(points)
        level = np.full(self.size, np.inf, np.float32)
        for a, b, ra, rb in zip(points, points[1:], radii, radii[1:], strict=False):
            d = np.subtract(b, a)
            p = (self.x - a[0], self.y - a[1], self.z - a[2])
            t = np.clip((p[0] * d[0] + p[1] * d[1] + p[2] * d[2]) / float(d @ d), 0, 1)
            distance = np.sqrt(sum((p[i] - t * d[i]) ** 2 for i in range(3)))
            level = np.minimum(level, distance - (ra + t * (rb - ra)))
        return level + rough * self.field(12) if rough else level

    def column(self, center: tuple[float, float], radii: tuple[float, float], lean: float = 0.0) -> Field:
        """Returns an elliptical cylinder along z that leans to the left by `lean` mm a mm."""
        x, y = (self.x - center[0] - lean * self.z) / radii[0], (self.y - center[1]) / radii[1]
        return (np.sqrt(x * x + y * y) - 1) * min(radii)


def both(*levels: Field) -> Field:
    """Returns what lies inside all of them."""
    return np.maximum.reduce(levels)


def merged(a: Field, b: Field, over: float) -> Field:
    """Returns what lies inside either, with the corner between them rounded over some mm."""
    share = np.clip(0.5 + (b - a) / (2 * over), 0, 1)
    return b + share * (a - b) - over * share * (1 - share)


# Abdomen in CT -------------------------------------------------------------------------------------------------


def abdomen(
    rng: np.random.Generator, size: Sequence[int], spacing: Sequence[float], middle: float, targets: Sequence[str]
) -> tuple[Field, Labels]:
    """Draws an abdomen in Hounsfield units, without contrast agent or in the portal phase.

    Args:
        rng: source of all that differs.
        size: voxels in z, y, x.
        spacing: mm in z, y, x.
        middle: mm above the kidneys at which the volume has its middle.
        targets: names among "liver", "spleen", "kidney", "aorta"; the i-th has the label i + 1.
    """
    c = Canvas(rng, size, spacing, bend=4.0, cell=75)
    c.z = c.z + np.float32(middle)
    labels = {name: i + 1 for i, name in enumerate(targets)}
    portal = rng.random() < 0.5
    soft = c.about(52, 4)
    blood = c.about(140, 15) if portal else c.about(42, 4)
    organ = c.about(108, 10) if portal else soft
    scale = c.about(1.0, 0.05)
    c.x, c.y = c.x / np.float32(scale), c.y / np.float32(scale)
    wide, deep, fat = c.about(158, 10), c.about(108, 8), max(c.about(16, 6), 6)
    spine = deep * 0.38
    of = _Tissues(portal, soft, blood, organ, spine, labels)

    cavity = _trunk(c, of, wide, deep, fat)
    _spine(c, of)
    below = _lungs(c, of, cavity)
    _bowel(c, of, below)
    _stomach(c, of, below)
    _vessels(c, of)
    _kidneys(c, of)
    _liver(c, of, below)
    _spleen(c, of, below)
    return _scanned_by_ct(c), c.label


@dataclass(frozen=True)
class _Tissues:
    """Values of an abdomen in Hounsfield units, where its spine is (mm to the back), and labels by structure."""

    portal: bool
    soft: float
    blood: float
    organ: float
    spine: float
    labels: dict[str, int]


def _trunk(c: Canvas, of: _Tissues, wide: float, deep: float, fat: float) -> Field:
    """Paints couch, fat, wall and ribs; returns the cavity."""
    c.image[:] = -1000
    body = c.column((0, 0), (wide, deep))
    couch = np.abs(c.y - deep - 16 + 0.0012 * c.x**2) - 4
    c.paint(both(couch, np.abs(c.x) - 190), -350)
    c.paint(body, -100, grain=8)
    wall = c.column((0, 2), (wide - fat, deep - fat * 0.8))
    c.paint(wall, of.soft, grain=7)
    cavity = c.column((0, -2), (wide - fat - 13, deep - fat * 0.8 - 12))
    c.paint(cavity, -95 + 18 * np.maximum(c.field(9), 0), grain=6)
    ribs = both(np.abs(wall + 7) - 4.5, 5 * (0.35 - np.cos((c.z + 0.45 * np.abs(c.x) - 0.5 * c.y) * 2 * np.pi / 30)))
    c.paint(both(ribs, 25 - c.z - 0.2 * c.y, 45 - np.abs(c.x)), 320, grain=40)
    return cavity


def _spine(c: Canvas, of: _Tissues) -> None:
    back = 6 * (0.6 - np.cos(c.z * 2 * np.pi / 34))
    for side in (-1, 1):
        c.paint(c.column((side * 36, of.spine + 27), (c.about(30, 2), c.about(21, 2))), of.soft - 4, grain=12)
        psoas = c.ellipsoid((side * 37, of.spine + 4, -95), (c.about(21, 2), 21, 105), tilt=side * 5)
        c.paint(psoas, of.soft, grain=6)
        c.paint(c.tube([(side * 12, of.spine + 22, 0), (side * 42, of.spine + 26, 0)], 5), 300, grain=40)
    vertebra = c.column((0, of.spine), (c.about(24, 1.5), c.about(18, 1)))
    c.paint(vertebra, 330)
    c.paint(vertebra + 3, c.about(190, 25), grain=35)
    c.paint(both(vertebra, 6 * (0.75 + np.cos(c.z * 2 * np.pi / 34))), 85, grain=5)
    c.paint(both(np.abs(c.column((0, of.spine + 24), (14, 12))) - 3.5, back), 330, grain=40)
    c.paint(both(np.abs(c.x) - 3.5, np.abs(c.y - of.spine - 45) - 12, back), 330, grain=40)
    c.paint(c.column((0, of.spine + 24), (9, 8)), 28)


def _lungs(c: Canvas, of: _Tissues, cavity: Field) -> Field:
    """Paints lungs and heart; returns the cavity below the diaphragm."""
    dome = (
        c.about(88, 8)
        - 0.0035 * ((c.x + 50) ** 2 + 0.6 * c.y**2) * (c.x < 0)
        - 0.0035 * np.abs(c.x - 60) ** 2 * (c.x >= 0)
    )
    dome = dome - 0.35 * np.maximum(c.y - 20, 0) + 4 * c.field(60)
    lungs = both(cavity, dome - c.z, 26 - np.hypot(c.x, c.y - of.spine))
    c.paint(lungs, -840 + 260 * np.maximum(c.field(8) - 1.1, 0), grain=20)
    c.paint(both(c.ellipsoid((18, -45, 125), (62, 45, 42), rough=2), cavity, dome - c.z), of.organ, grain=6)
    return both(cavity + 2, c.z - dome + 3)


def _bowel(c: Canvas, of: _Tissues, below: Field) -> None:
    """Paints loops of bowel: walls and contents of the organs' own values, with gas on top."""
    for _ in range(13):
        start = np.array([c.rng.uniform(-95, 95), c.rng.uniform(-75, 15), c.rng.uniform(-130, -5)])
        bends = [start + np.cumsum(c.rng.normal(0, 24, (3, 3)), axis=0)[i] * (i > 0) for i in range(3)]
        loop = both(c.tube([tuple(p) for p in bends], c.about(13, 2.5), rough=2), below)
        c.paint(loop, of.organ if c.rng.random() < 0.5 else of.soft, grain=5)
        c.paint(loop + 3.5, c.about(35, 18), grain=14)
        if c.rng.random() < 0.4:
            c.paint(both(loop + 4, c.y - bends[1][1] + 3), -820)
    for x, y in ((-118, 12), (112, 22)):
        colon = both(c.tube([(x, y, -170), (x * 0.96, y - 8, 5)], c.about(22, 3), rough=5), below)
        c.paint(colon, of.soft, grain=5)
        c.paint(colon + 4, c.about(20, 25) - 110 * np.maximum(c.field(8), 0), grain=25)
        c.paint(both(colon + 4, c.y - y + c.about(4, 5)), -850)


def _stomach(c: Canvas, of: _Tissues, below: Field) -> None:
    stomach = merged(
        c.ellipsoid((c.about(66, 6), c.about(-25, 6), c.about(55, 8)), (c.about(42, 5), 36, 44), turn=-30, rough=3),
        c.tube([(60, -38, 35), (20, -55, 8), (-15, -45, 4)], [24, 18, 11], rough=2),
        12,
    )
    stomach = both(stomach, below)
    c.paint(stomach, of.organ, grain=4)
    c.paint(stomach + 4, c.about(of.organ if c.rng.random() < 0.5 else 25, 6), grain=16)
    c.paint(both(stomach + 5, c.y + c.about(40, 7)), -860)
    c.paint(c.tube([(-28, -12, 2), (10, -22, 12), (45, -2, 22), (85, 22, 36)], [13, 9, 9, 7], rough=2.5), of.organ - 8)


def _vessels(c: Canvas, of: _Tissues) -> None:
    for name, place, lean in (("aorta", c.about(9, 3), 0.02), ("cava", c.about(-20, 3), -0.05)):
        vessel = c.column((place, of.spine - 29), (c.about(11.5, 1), c.about(11 if name == "aorta" else 9, 1)), lean)
        c.paint(vessel + 0.8 * c.field(20), of.blood, label=of.labels.get(name, 0), grain=5)


def _kidneys(c: Canvas, of: _Tissues) -> None:
    for side in (-1, 1):
        low = c.about(-12 if side < 0 else 0, 7)
        center = (side * c.about(66, 4), c.about(of.spine - 2, 4), low - 20)
        radii = (c.about(28, 2.5), c.about(25, 2), c.about(54, 5))
        kidney = c.ellipsoid(center, radii, turn=side * 35, tilt=-side * c.about(13, 4), rough=1.8)
        hilum = c.ellipsoid((center[0] - side * 20, center[1] - 12, center[2]), (17, 13, 24), rough=2)
        kidney = both(kidney, -hilum)
        c.paint(kidney, of.blood + 20 if of.portal else of.soft - 14, label=of.labels.get("kidney", 0), grain=6)
        c.paint(hilum + 7, c.about(0, 12))


def _liver(c: Canvas, of: _Tissues, below: Field) -> None:
    liver = merged(
        c.ellipsoid(
            (c.about(-72, 5), c.about(-2, 5), c.about(42, 6)), (c.about(80, 6), c.about(82, 6), c.about(82, 8))
        ),
        c.ellipsoid(
            (c.about(5, 8), c.about(-52, 5), c.about(52, 6)), (c.about(72, 10), c.about(32, 4), c.about(40, 5))
        ),
        22,
    )
    fossa = c.ellipsoid((-58, 50, -22), (38, 34, 52))
    spare = c.tube([(0, of.spine - 14, -99), (0, of.spine - 14, 160)], 38)
    liver = both(liver + 3.5 * c.field(45), below, -fossa, -spare, -c.z - 62 - 0.35 * c.x)
    c.paint(liver, of.organ, label=of.labels.get("liver", 0), grain=5)
    vessels = [c.tube([(-28, 5, 22), (-58, -8, 34), (-98, -2, 46)], [7, 5, 2.5])]
    for _ in range(5):
        tip = (c.about(-75, 30), c.about(-15, 30), c.about(45, 22))
        vessels.append(c.tube([(-30, 2, 40 + c.rng.uniform(-20, 35)), tip], [4.5, 2]))
    c.paint(both(np.minimum.reduce(vessels), liver + 3), of.blood, label=of.labels.get("liver", 0), grain=4)
    gall = c.ellipsoid((c.about(-44, 6), c.about(-52, 6), c.about(0, 6)), (c.about(15, 2), 13, 27), turn=25)
    c.paint(gall, 10, grain=3)


def _spleen(c: Canvas, of: _Tissues, below: Field) -> None:
    center = (c.about(104, 5), c.about(32, 6), c.about(50, 8))
    spleen = c.ellipsoid(center, (c.about(33, 4), c.about(52, 6), c.about(50, 7)), turn=-12, tilt=8, rough=2.5)
    hollow = c.ellipsoid((center[0] - 50, center[1] - 18, center[2]), (38, 42, 55))
    c.paint(both(spleen, below, -hollow), of.organ + c.about(0, 3), label=of.labels.get("spleen", 0), grain=4)


def _scanned_by_ct(c: Canvas) -> Field:
    noise = c.rng.standard_normal(c.size, dtype=np.float32)
    for axis in (1, 2):
        noise = (2 * noise + np.roll(noise, 1, axis) + np.roll(noise, -1, axis)) / 2.45
    streaks = 5 * np.sin(np.arctan2(c.y, c.x + 30) * 22) * c.field(40)
    return np.clip(c.image + c.about(14, 3) * noise + streaks, -1024, 3071)


# Head in MR ----------------------------------------------------------------------------------------------------


def head(rng: np.random.Generator, size: Sequence[int], spacing: Sequence[float]) -> tuple[Field, Labels]:
    """Draws a T1-weighted head; labels: 1 lateral ventricles, 2 thalamus, 3 putamen.

    Args:
        rng: source of all that differs.
        size: voxels in z, y, x.
        spacing: mm in z, y, x.
    """
    c = Canvas(rng, size, spacing, bend=2.2, cell=45)
    white, grey, fluid, fat = c.about(1.0, 0.03), c.about(0.62, 0.03), c.about(0.26, 0.03), c.about(1.15, 0.1)
    scale = c.about(1.0, 0.05)
    c.x, c.y, c.z = (axis / np.float32(scale) for axis in (c.x, c.y, c.z))
    atrophy = np.clip(c.about(0.35, 0.3), 0, 1)

    outer, inner = _skull(c, fat, fluid)
    _cortex(c, inner, white, grey, atrophy)
    for side in (-1, 1):
        cerebellum = c.ellipsoid((side * 26, 48, -50), (32, 28, 24), rough=2)
        c.paint(cerebellum, grey + 0.05 * np.sin(c.z * 1.3 + 0.4 * c.y))
        c.paint(cerebellum + 11, white)
    c.paint(c.tube([(0, 8, -80), (0, 12, -40), (0, 4, -14)], [12, 15, 17]), white - 0.05, grain=0.02)
    c.paint(c.ellipsoid((0, 28, -38), (8, 7, 8)), fluid)
    c.paint(c.ellipsoid((0, -52, -58), (24, 36, 19), rough=3), 0.34, grain=0.05)
    c.paint(c.ellipsoid((0, -58, -60), (15, 20, 14), rough=3), 0.04)
    for side in (-1, 1):
        c.paint(both(c.ellipsoid((side * 30, -58, -44), (18, 26, 16)), outer + 3), fat * 0.95)
        c.paint(c.ellipsoid((side * 31, -68, -44), (12.5, 12.5, 12.5)), fluid + 0.05)

    for side in (-1, 1):
        _deep_structures(c, side, grey, fluid, 1 + 0.9 * atrophy)
    third = both(np.abs(c.x) - 1.6 - 1.8 * atrophy, c.ellipsoid((0, 2, 0), (8, 17, 12)))
    c.paint(third, fluid)
    return _scanned_by_mr(c, noise=0.028), c.label


def _skull(c: Canvas, fat: float, fluid: float) -> tuple[Field, Field]:
    """Paints scalp, skull and the fluid inside; returns the outer and the inner surface."""
    outer = c.ellipsoid((0, 0, -6), (c.about(80, 3), c.about(97, 3), 96))
    c.image[:] = 0.02
    c.paint(outer, fat, grain=0.08)
    c.paint(outer + c.about(6, 1), 0.45, grain=0.05)
    c.paint(outer + c.about(8, 1), 0.10)
    c.paint(both(outer + 9.5, 1.2 - outer - 11.5), 0.42, grain=0.12)
    c.paint(outer + 11.5, 0.10)
    inner = outer + 13
    c.paint(inner, fluid, grain=0.02)
    return outer, inner


def _cortex(c: Canvas, inner: Field, white: float, grey: float, atrophy: float) -> None:
    """Paints the brain's grey and white matter inside the skull's inner surface."""
    # Sulci lie where a random field crosses zero; they reach some way in, and further apart in a brain that has shrunk.
    crossing = np.abs(c.field(15) + 0.4 * c.field(9)) * 7.5 - 0.6 - 1.2 * atrophy
    brain = both(inner + 1.5 + 2 * atrophy, -both(crossing, -inner - 15))
    between = 26 + 70 / (1 + np.exp(-(c.z - 22) / 4))
    brain = both(brain, -both(np.abs(c.x + 1.2 * c.field(30)) - 0.9 - 0.9 * atrophy, -inner - between))
    sylvian = np.minimum.reduce(
        [c.tube([(s * 68, -12, -6), (s * 46, -2, 2), (s * 50, 22, 10)], [6, 3 + 2 * atrophy, 2.5]) for s in (-1, 1)]
    )
    brain = both(brain, -sylvian)
    c.paint(brain, grey, grain=0.02)
    thick = c.about(4.0, 0.4)
    inside = both(inner + 1.5 + 2 * atrophy + thick, thick - crossing)
    c.paint(both(brain + thick, -both(-inside, -inner - 15 - thick)), white, grain=0.02)


def _deep_structures(c: Canvas, side: int, grey: float, fluid: float, wide: float) -> None:
    """Paints the nuclei and the lateral ventricle of one side (-1 or 1); `wide` is how far the ventricle has grown."""
    sway = c.about(1.0, 0.06)
    s = side * sway
    middle = (s * 27, c.about(-4, 1.5), c.about(1, 1.5))
    putamen = c.ellipsoid(middle, (c.about(6.5, 0.6), c.about(17, 1.5), 13), s * -12)
    c.paint(c.tube([(s * 35, -18, 2), (s * 37, 0, 3), (s * 35, 16, 4)], 1.4), grey)
    c.paint(c.ellipsoid((s * 34.5, -2, 1), (2.5, 20, 16)), grey - 0.02)
    c.paint(putamen, grey, label=3, grain=0.015)
    c.paint(c.ellipsoid((s * 19.5, -1, -1), (5, 11, 8), s * -15), grey + 0.14)
    caudate = [(s * 13, -22, 2), (s * 16, -14, 14), (s * 19, 4, 21), (s * 21, 20, 18)]
    c.paint(c.tube(caudate, [7.5, 6, 4, 2.5]), grey, grain=0.015)
    thalamus = c.ellipsoid(
        (s * 11.5, c.about(10, 1.5), c.about(3, 1.5)), (c.about(8.5, 0.7), 15, 10), s * 22, rough=0.8
    )
    c.paint(thalamus, grey + 0.03, label=2, grain=0.015)
    c.paint(c.ellipsoid((s * 26, 8, -24), (6, 17, 6), s * 8), grey)
    horn = [(s * 6, -34, 6), (s * 8, -20, 12), (s * 11, 0, 21), (s * 16, 18, 19), (s * 25, 32, 8)]
    ventricle = c.tube(horn, [4.2 * wide, 5.4 * wide, 4.6 * wide, 4.8 * wide, 6.0 * wide])
    temporal = c.tube([(s * 25, 32, 8), (s * 32, 20, -12), (s * 31, -2, -22)], [5 * wide, 3 * wide, 1.8 * wide])
    occipital = c.tube([(s * 25, 32, 8), (s * 24, 52, 5)], [5 * wide, c.about(2.2, 0.8) * wide])
    ventricle = np.minimum.reduce([ventricle, temporal, occipital])
    c.paint(both(ventricle, 0.8 - side * c.x), fluid, label=1)
    c.paint(c.ellipsoid((s * 21, 28, 10), (3, 5, 3)), grey)


# Heart in MR ---------------------------------------------------------------------------------------------------


def heart(rng: np.random.Generator, size: Sequence[int], spacing: Sequence[float]) -> tuple[Field, Labels]:
    """Draws a bright-blood short-axis stack from the base (top slices) to the apex; labels: 1 cavity of the left
    ventricle with its papillary muscles, 2 its wall.

    Args:
        rng: source of all that differs.
        size: voxels in z, y, x.
        spacing: mm in z, y, x.
    """
    c = Canvas(rng, size, spacing, bend=2.5, cell=45, turn=12)
    blood, muscle, fat = c.about(1.0, 0.04), c.about(0.36, 0.03), c.about(0.95, 0.06)
    squeeze = rng.uniform(0.55, 1.0)
    wall = c.about(9.5, 1.6) * (1.35 - 0.35 * squeeze)
    wide = c.about(30, 3) * (0.45 + 0.55 * squeeze) + wall

    chest = _chest(c, blood, muscle, fat)
    apex, base = c.about(-46, 4), c.about(44, 4)
    height = np.clip((c.z - apex) / (base - apex), -0.6, 1.4)
    taper = np.sqrt(np.maximum(1 - (1 - np.clip(height, 0, 1)) ** 2.2, 0)) - np.maximum(-height, 0)
    lean_x, lean_y = c.about(0.12, 0.06), c.about(-0.1, 0.06)
    x0, y0 = c.about(8, 5), c.about(0, 5)
    x, y = c.x - x0 - lean_x * c.z, c.y - y0 - lean_y * c.z
    round_x, round_y = c.about(1, 0.05), c.about(1, 0.05)
    radius = np.hypot(x / round_x, y / round_y)
    uneven = 1.2 * c.field(28)
    outer = radius - wide * taper + uneven
    inner = radius - (wide * taper - wall * (1 - 0.25 * (height < 0.2))) + 0.8 * uneven + 0.8 * c.field(14)
    inner = both(inner, apex + wall - c.z)

    right = c.ellipsoid(
        (x0 - wide * 0.72, y0 - 10, 16), (wide * c.about(1.12, 0.1), wide * c.about(1.2, 0.1), 66), -22, rough=3
    )
    sac = merged(outer, right - 3, 14) - max(c.about(6, 3), 1.5) + 3.5 * c.field(24)
    c.paint(both(sac, chest + 30), fat * 0.85, grain=0.05)
    c.paint(right - 3.2, muscle, grain=0.03)
    trabeculae = np.maximum(c.field(7) - 0.9, 0) * np.clip(1 + right / 14, 0, 1)
    c.paint(right, blood - 0.35 * trabeculae, grain=0.03)
    atrium = c.ellipsoid((x0 + 6, y0 + 22, base + 22), (34, 28, 26), rough=3)
    c.paint(atrium - 3, muscle)
    c.paint(atrium, blood, grain=0.03)
    ventricle = both(outer, c.z - base)
    c.paint(ventricle, muscle, label=2, grain=0.03)
    cavity = both(inner, c.z - base)
    c.paint(cavity, blood, label=1, grain=0.04)
    for angle in (c.about(35, 10), c.about(150, 10)):
        away = (wide - wall) * 0.62
        a, b = away * np.cos(np.deg2rad(angle)), away * np.sin(np.deg2rad(angle))
        muscle_tip = np.hypot(x - a, y - b) - c.about(5.5, 0.8)
        c.paint(both(muscle_tip, inner + 1, np.abs(c.z - 2) - 22), muscle, label=1)
    return _scanned_by_mr(c, noise=0.035, coil=0.45), c.label


def _chest(c: Canvas, blood: float, muscle: float, fat: float) -> Field:
    """Paints what lies around the heart: fat and muscle around two lungs, the spine behind, liver and stomach below;
    returns the chest's surface."""
    lung = 0.05
    chest = c.ellipsoid((12, 18, 0), (c.about(160, 8), c.about(120, 6), 400))
    c.image[:] = 0.02
    c.paint(chest, fat, grain=0.06)
    c.paint(chest + max(c.about(14, 4), 6), muscle + 0.03, grain=0.06)
    ribs = both(np.abs(chest + 27) - 4, 5 * (0.2 - np.cos(np.arctan2(c.y - 18, c.x - 12) * 15 + c.z / 9)))
    c.paint(ribs, 0.62, grain=0.05)
    c.paint(chest + 32, lung, grain=0.015)
    c.paint(chest + 32, lung + 0.5 * np.maximum(c.field(9) - 1.5, 0))
    c.paint(c.ellipsoid((40, 115, 0), (22, 20, 400)), 0.55, grain=0.06)
    c.paint(c.tube([(c.about(52, 4), 82, -90), (c.about(52, 4), 82, 90)], c.about(11, 1)), blood, grain=0.03)
    liver = c.ellipsoid((c.about(-55, 8), c.about(78, 8), -45), (c.about(85, 6), c.about(48, 5), 70), rough=4)
    c.paint(both(liver, chest + 34), muscle, grain=0.03)
    c.paint(both(c.tube([(-80, 70, -30), (-40, 80, -10)], 4), liver + 4), blood * 0.8)
    stomach = c.ellipsoid((70, c.about(75, 8), -75), (45, 38, 48), rough=3)
    c.paint(both(stomach, chest + 34), muscle * 1.2, grain=0.1)
    return chest


def _scanned_by_mr(c: Canvas, noise: float, coil: float = 0.15) -> Field:
    """Adds a bias field, a receiver coil nearer to one side, a gain, and noise of a magnitude image (Rician)."""
    bias = 0.16 * c.field(110) - coil * c.y / np.abs(c.y).max() + c.about(0, 0.12) * c.x / np.abs(c.x).max()
    image = c.image * np.exp(bias)
    noise *= c.about(1.0, 0.25)
    real, imaginary = c.rng.standard_normal((2, *c.size), dtype=np.float32)
    return np.hypot(image + noise * real, noise * imaginary) * np.float32(np.exp(c.about(6.2, 0.35)))
