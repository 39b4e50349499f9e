"""Draws the icons of the extension, the module and the Segment Editor effect: `python tools/draw_icons.py`.

An organ with its segmentation contour, and in it the hierarchy that HSSL learns: image, task, group. The small icons
carry fewer nodes, so that they still read at 16 pixels.
"""

from __future__ import annotations

import itertools
import math
import os
import sys
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QGuiApplication, QImage, QLinearGradient, QPainter, QPainterPath, QPen

ROOT = Path(__file__).resolve().parent.parent
ICONS = ROOT / "HSSLSegmentation" / "Resources" / "Icons"
DEEP, BRIGHT, CONTOUR, PAPER = QColor("#14537c"), QColor("#1f9aa8"), QColor("#f2a51d"), QColor("#ffffff")


def organ(scale: float = 1.0) -> QPainterPath:
    """A closed smooth outline around (50, 50), in a square of 100."""
    path = QPainterPath()
    for step in range(181):
        angle = math.radians(2 * step)
        radius = scale * (42 + 2.6 * math.cos(2 * angle + 0.5) - 1.8 * math.sin(3 * angle))
        point = QPointF(50 + radius * math.cos(angle), 50.5 + radius * math.sin(angle))
        path.moveTo(point) if step == 0 else path.lineTo(point)
    path.closeSubpath()
    return path


def filling() -> QBrush:
    gradient = QLinearGradient(18, 10, 82, 92)
    gradient.setColorAt(0.0, BRIGHT)
    gradient.setColorAt(1.0, DEEP)
    return QBrush(gradient)


def hierarchy(painter: QPainter, levels: list[list[tuple[float, float]]], radii: list[float], width: float) -> None:
    """Nodes of each level, every one tied to the nearest node of the level above."""
    painter.setPen(QPen(PAPER, width, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
    for above, below in itertools.pairwise(levels):
        for x, y in below:
            parent = min(above, key=lambda node: abs(node[0] - x))
            painter.drawLine(QPointF(*parent), QPointF(x, y))
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(PAPER)
    for nodes, radius in zip(levels, radii, strict=True):
        for x, y in nodes:
            painter.drawEllipse(QPointF(x, y), radius, radius)


def extension(painter: QPainter) -> None:
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(filling())
    painter.drawPath(organ(0.92))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(CONTOUR, 4.2, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap, Qt.PenJoinStyle.RoundJoin))
    painter.drawPath(organ(1.03))
    hierarchy(
        painter, [[(50, 26)], [(35, 47), (65, 47)], [(27, 67), (42.5, 71), (57.5, 71), (73, 67)]], [7.4, 6.2, 5.0], 3.2
    )


def module(painter: QPainter) -> None:
    painter.setPen(QPen(CONTOUR, 7.0, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap, Qt.PenJoinStyle.RoundJoin))
    painter.setBrush(filling())
    painter.drawPath(organ())
    hierarchy(painter, [[(50, 32)], [(32, 65), (68, 65)]], [10.5, 9.5], 6.0)


def effect(painter: QPainter) -> None:
    """Strokes painted on three slices, and the contour that follows from them."""
    painter.setPen(QPen(CONTOUR, 7.0, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap, Qt.PenJoinStyle.RoundJoin))
    painter.setBrush(filling())
    painter.drawPath(organ())
    painter.setPen(QPen(PAPER, 9.0, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for y, left, right, sag in ((27, 34, 67, 11), (46, 24, 78, 15), (66, 35, 68, 10)):
        stroke = QPainterPath(QPointF(left, y))
        stroke.quadTo(QPointF((left + right) / 2, y + sag), QPointF(right, y))
        painter.drawPath(stroke)


def samples(painter: QPainter) -> None:
    """Three scans in a stack, the first with its contour: the picture on the button in Sample Data."""
    for step, shade in enumerate(("#3a4750", "#27323a", "#141b20")):
        shift = 9.0 * (2 - step)
        painter.save()
        painter.translate(2 + shift, 20 - shift)
        painter.setPen(QPen(QColor("#8fa1ad"), 1.6))
        painter.setBrush(QColor(shade))
        painter.drawRoundedRect(QRectF(0, 0, 76, 76), 4, 4)
        painter.restore()
    painter.save()
    painter.translate(5, 23)
    painter.scale(0.7, 0.7)
    painter.setPen(QPen(CONTOUR, 4.5))
    painter.setBrush(filling())
    painter.drawPath(organ(0.92))
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(255, 255, 255, 70))
    painter.drawEllipse(QPointF(38, 44), 13, 10)
    painter.drawEllipse(QPointF(63, 56), 9, 12)
    painter.restore()


def render(draw, size: int) -> QImage:
    image = QImage(4 * size, 4 * size, QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.scale(4 * size / 100, 4 * size / 100)
    draw(painter)
    painter.end()
    return image.scaled(size, size, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation)


def main() -> None:
    application = QGuiApplication.instance() or QGuiApplication(sys.argv[:1])  # noqa: F841
    ICONS.mkdir(parents=True, exist_ok=True)
    render(extension, 128).save(str(ROOT / "Resources" / "HSSL.png"))
    render(module, 64).save(str(ICONS / "HSSLSegmentation.png"))
    render(samples, 128).save(str(ICONS / "HSSLSampleScans.png"))
    render(effect, 64).save(str(ICONS / "SegmentEditorHSSLEffect.png"))


if __name__ == "__main__":
    main()
