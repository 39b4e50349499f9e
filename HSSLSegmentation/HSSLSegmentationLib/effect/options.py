"""The options of the Segment Editor effect: its widgets, and nothing that acts."""

import ctk
import qt
from slicer.i18n import tr as _

from ..colors import HINT_STYLE


class EffectOptions:
    """Builds the widgets into one frame; the effect connects them and keeps them up to date."""

    def __init__(self):
        self.widget = qt.QWidget()
        layout = qt.QVBoxLayout(self.widget)
        layout.setContentsMargins(0, 0, 0, 0)
        self._addHints(layout)
        self._addMode(layout)
        layout.addWidget(self._learning())
        self._addRound(layout)
        layout.addWidget(self._preview())

    def revealPreview(self):
        """Scrolls the panel so far that a preview can be applied or discarded, where it is in an area that scrolls."""
        area = self.widget.parentWidget()
        while area is not None and not isinstance(area, qt.QScrollArea):
            area = area.parentWidget()
        if area is not None and self.previewFrame.isVisible():
            area.ensureWidgetVisible(self.applyButton)

    def _addHints(self, layout):
        self.hintLabel = self._text(HINT_STYLE)
        layout.addWidget(self.hintLabel)
        self.installButton = qt.QPushButton(_("Install packages…"))
        self.installButton.toolTip = _(
            "Opens the settings of HSSL Segmentation, where the Python packages are installed."
        )
        layout.addWidget(self.installButton)
        self.alignButton = qt.QPushButton(_("Rotate the views to the volume plane"))
        self.alignButton.toolTip = _(
            "The slice views cut the volume obliquely. What is painted in them counts as scribbles, not as complete slices."
        )
        layout.addWidget(self.alignButton)

    def _addMode(self, layout):
        self.learnButton = qt.QRadioButton(_("Learn from the slices I paint"))
        self.learnButton.toolTip = _("Paint a few slices of each structure; the rest of the volume follows.")
        self.predictButton = qt.QRadioButton(_("Predict with a trained model"))
        self.predictButton.toolTip = _(
            "Segments the volume with a model that was fine-tuned before; nothing needs to be painted."
        )
        layout.addWidget(self.learnButton)
        layout.addWidget(self.predictButton)

        form = qt.QFormLayout()
        form.setFieldGrowthPolicy(qt.QFormLayout.AllNonFixedFieldsGrow)
        layout.addLayout(form)
        self.modelCombo = qt.QComboBox()
        self.modelCombo.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self.modelCombo.setMinimumContentsLength(12)
        self.modelLabel = qt.QLabel()
        form.addRow(self.modelLabel, self.modelCombo)
        self.piecesCombo = qt.QComboBox()
        self.piecesCombo.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self.piecesCombo.setMinimumContentsLength(8)
        form.addRow(_("Pieces to keep:"), self.piecesCombo)
        self.fastCheck = qt.QCheckBox(_("One slice plane only"))
        self.fastCheck.toolTip = _("A third of the time, a little worse. For models that look along all three axes.")
        layout.addWidget(self.fastCheck)

    def _learning(self):
        """The widgets for what is painted; without them a prediction is made."""
        self.learnFrame = qt.QWidget()
        learnLayout = qt.QVBoxLayout(self.learnFrame)
        learnLayout.setContentsMargins(0, 0, 0, 0)
        row = qt.QHBoxLayout()
        self.completeButton = qt.QPushButton(_("This slice is complete"))
        self.completeButton.toolTip = _(
            "Marks the slice that the chosen view shows: what is not painted on it is background, "
            "even when nothing is painted at all. The list below takes the mark back."
        )
        self.viewCombo = qt.QComboBox()
        self.viewCombo.toolTip = _("The view whose slice is marked.")
        row.addWidget(self.completeButton, 1)
        row.addWidget(self.viewCombo)
        learnLayout.addLayout(row)
        self.scribblesCheck = qt.QCheckBox(_("Scribbles only"))
        self.scribblesCheck.toolTip = _(
            "Unchecked: every slice on which something is painted counts as complete. "
            "Checked: only what is painted is learned from, and the slices that you mark as complete."
        )
        learnLayout.addWidget(self.scribblesCheck)
        self.liveCheck = qt.QCheckBox(_("Update while I paint"))
        self.liveCheck.toolTip = _(
            "A round starts by itself when a slice was painted; the preview stays until the next one is there."
        )
        learnLayout.addWidget(self.liveCheck)
        self.slicesLabel = self._text()
        learnLayout.addWidget(self.slicesLabel)
        self.slicesList = qt.QListWidget()
        self.slicesList.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        self.slicesList.setTextElideMode(qt.Qt.ElideRight)
        self.slicesList.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Fixed)
        self.slicesList.toolTip = _(
            "The slices that count as complete, with the segments that are complete on them. Click one to go there; "
            "uncheck it and it is not learned from."
        )
        learnLayout.addWidget(self.slicesList)
        return self.learnFrame

    def _addRound(self, layout):
        row = qt.QHBoxLayout()
        self.startButton = qt.QPushButton()
        self.cancelButton = qt.QPushButton(_("Cancel"))
        self.cancelButton.toolTip = _("Stops what is being computed; the segments stay as they are.")
        row.addWidget(self.startButton, 1)
        row.addWidget(self.cancelButton)
        layout.addLayout(row)
        self.progressBar = qt.QProgressBar()
        self.progressBar.setRange(0, 1000)
        layout.addWidget(self.progressBar)
        self.statusLabel = self._text()
        self.statusLabel.setTextFormat(qt.Qt.PlainText)
        self.statusLabel.setTextInteractionFlags(qt.Qt.TextSelectableByMouse)
        # A long word, such as a path, must not widen Slicer's whole panel.
        self.statusLabel.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Preferred)
        layout.addWidget(self.statusLabel)
        self.nanCheck = qt.QCheckBox(_("NaN is background"))
        self.nanCheck.toolTip = _(
            "Voxels of this volume that are not a number are background, as in functional and masked scans. Otherwise it "
            "is refused."
        )
        layout.addWidget(self.nanCheck)

    def _preview(self):
        """The widgets for a result that is not applied yet."""
        self.previewFrame = qt.QWidget()
        previewLayout = qt.QVBoxLayout(self.previewFrame)
        previewLayout.setContentsMargins(0, 0, 0, 0)
        self.opacitySlider = ctk.ctkSliderWidget()
        self.opacitySlider.minimum, self.opacitySlider.maximum = 0.0, 1.0
        self.opacitySlider.singleStep, self.opacitySlider.decimals = 0.05, 2
        self.opacitySlider.toolTip = _("How strongly the preview covers the image.")
        self.shownCheck = qt.QCheckBox(_("Preview"))
        self.shownCheck.checked = True
        self.shownCheck.toolTip = _("Shows or hides the preview (key H).")
        previewRow = qt.QHBoxLayout()
        previewRow.addWidget(self.shownCheck)
        previewRow.addWidget(self.opacitySlider, 1)
        previewLayout.addLayout(previewRow)
        self.nextButton = qt.QPushButton(_("Go to the most uncertain slice"))
        self.nextButton.toolTip = _("Shows the place where a correction teaches most.")
        previewLayout.addWidget(self.nextButton)
        self.protectCheck = qt.QCheckBox(_("Protect hidden and completed segments"))
        self.protectCheck.toolTip = _(
            "Checked: Apply takes no voxel from a segment that is hidden or has the status Completed, "
            "whatever the overwrite mode."
        )
        previewLayout.addWidget(self.protectCheck)
        self.takesLabel = self._text()
        self.takesLabel.setTextFormat(qt.Qt.PlainText)
        previewLayout.addWidget(self.takesLabel)
        row = qt.QHBoxLayout()
        self.applyButton = qt.QPushButton(_("Apply"))
        self.applyButton.toolTip = _("Writes the preview into the segments; masking, overwrite mode and undo hold.")
        self.discardButton = qt.QPushButton(_("Discard"))
        self.discardButton.toolTip = _("Removes the preview; the segments stay as they are.")
        row.addWidget(self.applyButton)
        row.addWidget(self.discardButton)
        previewLayout.addLayout(row)
        return self.previewFrame

    def _text(self, style: str = ""):
        label = qt.QLabel()
        label.setWordWrap(True)
        label.setStyleSheet(style)
        return label
