"""The panel as a whole: its sections, the state that they share, and the one job that they may run at a time."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import qt
import vtk
from slicer.i18n import tr as _

import slicer

from .. import colors, installation, settings, wording
from ..jobs.job import Job, runningJobs
from ..workspace import contents as workspaceContents
from .closing import CloseQuestion
from .counts import Counts
from .datasetSection import DatasetSection
from .fineTuneSection import FineTuneSection
from .jobView import JobView
from .modelsSection import ModelsSection
from .pretrainSection import PretrainSection
from .sceneAdding import SceneAdding
from .segmentSection import SegmentSection
from .settingsSection import SettingsSection
from .telling import told


class Panel:
    """Builds the panel and keeps its sections up to date.

    Args:
        logic: the module's Logic.
        resourcePath: finds a file of the module's resources.
    """

    def __init__(self, logic, resourcePath: Callable[[str], str]):
        self.logic = logic
        self.resourcePath = resourcePath
        self.parameterNode = None
        self.job: Job | None = None
        self.widget = slicer.util.loadUI(resourcePath("UI/HSSLSegmentation.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self._modifiedTag = None
        self._guiTag = None
        self._catalogue: Any = None
        self._catalogueStamp: tuple | None = None
        self._counts: Counts | None = None
        self._refreshing = False
        self.catalogueProblem = ""
        self._runs: list | None = None
        self._models: list | None = None
        self._found: dict[tuple[str, str], Any] = {}
        self.adding = SceneAdding(self)
        self._closeQuestion = CloseQuestion(lambda: bool(self.adding.text))
        self._jobViews: list[JobView] = []
        self._refreshTimer = qt.QTimer()
        self._refreshTimer.setSingleShot(True)
        self._refreshTimer.setInterval(0)
        self._refreshTimer.connect("timeout()", self.refresh)
        self.dataset = DatasetSection(self)
        self.pretrain = PretrainSection(self)
        self.fineTune = FineTuneSection(self)
        self.segment = SegmentSection(self)
        self.models = ModelsSection(self)
        self.settings = SettingsSection(self)
        self.sections: list[Any] = [
            self.dataset,
            self.pretrain,
            self.fineTune,
            self.segment,
            self.models,
            self.settings,
        ]
        for section in self.sections:
            for edit in vars(section.ui).values():
                if type(edit) is ctk.ctkPathLineEdit:
                    executable = edit is self.settings.ui.pythonEdit
                    edit.filters = ctk.ctkPathLineEdit.Files if executable else ctk.ctkPathLineEdit.Dirs
        for name in ("dataset", "pretrain", "fineTune", "segment", "models", "settings"):
            # A collapsible button would be as wide as what it holds would like to be.
            button = getattr(self.ui, f"{name}Button")
            button.setSizePolicy(qt.QSizePolicy.Preferred, button.sizePolicy.verticalPolicy())
        self.ui.packagesButton.connect("clicked(bool)", self.onInstall)
        slicer.app.connect("paletteChanged(QPalette)", self.onPalette)

    # Building, and letting go -------------------------------------------------------------------------------------

    def loadSection(self, uiFile: str, button) -> tuple:
        """Loads a section's .ui file into its collapsible button; returns the widget and its children as variables."""
        widget = slicer.util.loadUI(self.resourcePath(f"UI/{uiFile}"))
        button.layout().addWidget(widget)
        if hasattr(widget, "setMRMLScene"):
            widget.setMRMLScene(slicer.mrmlScene)
        ui = slicer.util.childWidgetVariables(widget)
        if hasattr(ui, "hintLabel"):
            ui.hintLabel.styleSheet = colors.HINT_STYLE
        return widget, ui

    def onPalette(self, *_palette) -> None:
        for section in self.sections:
            if hasattr(section.ui, "hintLabel"):
                colors.styleAnew(section.ui.hintLabel)

    def newJobView(self, holder, told: Callable[[Job, object], None]) -> JobView:
        """Adds the view of a job to a section; `told` observes every job that is shown there, resumed ones too."""
        view = JobView(self.resourcePath, self.onResume, told)
        holder.layout().addWidget(view.widget)
        self._jobViews.append(view)
        return view

    def useParameterNode(self, parameterNode) -> None:
        """Binds the panel to the state in the scene; None lets go of it."""
        present = None if self.parameterNode is None else self.parameterNode.parameterNode
        if parameterNode is not None and parameterNode.parameterNode is present:
            self.forget()
            self.refresh()
            return
        if self.parameterNode is not None:
            self.parameterNode.disconnectGui(self._guiTag)
            self.parameterNode.RemoveObserver(self._modifiedTag)
            self._guiTag = self._modifiedTag = None
        self.parameterNode = parameterNode
        self.forget()
        if parameterNode is None:
            return
        if not parameterNode.workspace and workspaceContents.isWorkspace(settings.value("lastWorkspace")):
            parameterNode.workspace = settings.value("lastWorkspace")
        widgets = {}
        for section in self.sections:
            for widget in vars(section.ui).values():
                name = widget.property("SlicerParameterName")
                if name:
                    widgets[name] = widget
        self._guiTag = parameterNode.connectParametersToGui(widgets)
        self._modifiedTag = parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, self._parametersModified)
        self.refresh()

    def sceneCloses(self) -> None:
        """Lets go of nodes; a job that is about a volume of the scene has nothing left to write into and is stopped."""
        for view in self._jobViews:
            view.sceneCloses()
        self.segment.sceneCloses()
        self.adding.sceneCloses()
        self.dataset.labelNext.sceneCloses()
        if self.job is not None and self.job.isRunning() and self.job.volumeNode is not None:
            self.job.stop()

    def release(self, wait: bool = True) -> None:
        """Lets go of everything: no observer, timer or process stays.

        Args:
            wait: whether to wait until the jobs have saved their state and ended. Without it they are asked to, and end
                by themselves: their own timers see to it as long as the application lives.
        """
        self.useParameterNode(None)
        slicer.app.disconnect("paletteChanged(QPalette)", self.onPalette)
        self._refreshTimer.stop()
        self._refreshTimer.disconnect("timeout()", self.refresh)
        self._closeQuestion.release()
        if self.job is not None:
            self.job.removeObserver(self._jobTold)
        for job in runningJobs():
            if wait:
                job.endNow()
            else:
                job.stop()
        self.adding.release()
        for view in self._jobViews:
            view.release()
        for section in self.sections:
            section.release()

    # What the sections share --------------------------------------------------------------------------------------

    @property
    def workspace(self) -> str:
        """The chosen workspace; "" when none is chosen or the folder is not one."""
        path = self.parameterNode.workspace if self.parameterNode is not None else ""
        return path if workspaceContents.isWorkspace(path) else ""

    @property
    def catalogue(self):
        """The workspace's catalogue (`hssl.workspace.catalogue.Catalogue`), read again when its file has changed; or None."""
        if not self.workspace or not installation.canReadCatalogues():
            return None
        from hssl.errors import HSSLError
        from hssl.workspace.catalogue import Catalogue

        if self._refreshing and self._catalogueStamp is not None:
            return self._catalogue
        stat = (Path(self.workspace) / workspaceContents.CATALOGUE_FILE).stat()
        stamp = (self.workspace, stat.st_mtime_ns, stat.st_size)
        if stamp != self._catalogueStamp:
            self._catalogueStamp, self._counts = stamp, None
            self.catalogueProblem = ""
            try:
                self._catalogue = Catalogue.load(self.workspace)
            except HSSLError as error:
                self._catalogue = None
                self.catalogueProblem = _("The workspace cannot be read: {reason}").format(reason=error)
        return self._catalogue

    @property
    def counts(self) -> Counts | None:
        """How many images of the catalogue are what; None without a catalogue."""
        catalogue = self.catalogue
        if catalogue is not None and self._counts is None:
            self._counts = Counts(catalogue)
        return self._counts if catalogue is not None else None

    @property
    def runs(self) -> list:
        """The runs of the workspace."""
        if self._runs is None:
            self._runs = workspaceContents.runs(self.workspace) if self.catalogue is not None else []
        return self._runs

    @property
    def modelFiles(self) -> list:
        """The model files of the workspace."""
        if self._models is None:
            self._models = workspaceContents.models(self.workspace) if self.catalogue is not None else []
        return self._models

    def found(self, look: Callable[[str, str], Any], task: str) -> Any:
        """Returns what `workspaceContents.latestCheck` or `latestCurve` finds for a task, looked up once."""
        key = (look.__name__, task)
        if key not in self._found:
            self._found[key] = look(self.workspace, task)
        return self._found[key]

    def isOfWorkspace(self, run: Path) -> bool:
        """Tells whether a run's folder belongs to the chosen workspace (another may have been chosen meanwhile)."""
        return bool(self.workspace) and run.parent.parent == Path(self.workspace).expanduser().absolute()

    def forget(self) -> None:
        """Forgets what was read from the workspace and of the packages: it is read again when it is asked for."""
        installation.forget()
        self._catalogue = self._catalogueStamp = self._counts = self._runs = self._models = None
        self._found = {}
        self.settings.forget()

    def refreshSoon(self) -> None:
        """Brings all sections up to date when the present event is over; many calls are one."""
        self._refreshTimer.start()

    def refresh(self) -> None:
        """Brings all sections up to date."""
        if self.parameterNode is None:
            return
        self._closeQuestion.watch()
        advice = self._adviceOnPackages()
        self.ui.packagesFrame.setVisible(bool(advice))
        self.ui.packagesLabel.text = advice
        self.ui.packagesButton.setVisible(bool(self._missingPackages()))
        known = self.catalogue is not None  # one look at its file serves all sections
        self._refreshing = known
        try:
            for section in self.sections:
                section.update()
        finally:
            self._refreshing = False

    @staticmethod
    def _missingPackages() -> list[str]:
        return installation.missingRequirements(settings.value("python"))

    def _adviceOnPackages(self) -> str:
        missing = self._missingPackages()
        if missing:
            return installation.adviceFor(installation.Packages(False, missing))
        known = self.settings.packages
        return "" if known is None else installation.adviceFor(known, settings.value("python"))

    def reasonNotReady(self) -> str:
        """Returns why no job can be started now, or "" when one can."""
        if self._missingPackages():
            return _("Install the packages first (at the top of the panel).")
        if self._adviceOnPackages():
            return _("The packages cannot be used; see the top of the panel.")
        if not self.workspace:
            return _("Choose a workspace first (section Dataset).")
        if self.catalogue is None:
            return self.catalogueProblem
        return self.reasonBusy()

    def reasonBusy(self) -> str:
        """Returns that another job is running, or that something is being added, or ""."""
        if self.adding.text:
            return self.adding.text
        if self.job is not None and self.job.isRunning():
            return _("{job} is running; wait for its end, or stop it.").format(job=wording.job(self.job.kind))
        return ""

    @staticmethod
    def offer(button, reason: str, tip: str) -> None:
        """Enables a button, or disables it and says why in its tooltip."""
        button.enabled = not reason
        button.toolTip = wording.literal(reason or tip)

    # Jobs ---------------------------------------------------------------------------------------------------------

    def startJob(self, view: JobView, start: Callable[[], Job]) -> Job | None:
        """Starts a job and shows it; a reason why it cannot start is displayed, and None returned."""
        busy = self.reasonBusy()
        if busy:
            slicer.util.warningDisplay(busy)
            return None
        with told(_("The job could not be started."), waitCursor=True):
            job = start()
            self._take(job, view)
            return job
        return None

    def onResume(self, job: Job) -> None:
        view = next(view for view in self._jobViews if view.job is job)
        self.startJob(view, job.resume)

    def onInstall(self) -> None:
        """Installs the missing packages, after one question."""
        with told(_("The packages could not be installed."), waitCursor=True):
            if installation.install():
                slicer.util.showStatusMessage(_("The packages for HSSL are installed."), 5000)
        self.forget()
        self.refresh()

    def _take(self, job: Job, view: JobView) -> None:
        self.job = job
        view.show(job)
        job.addObserver(view.told)
        job.addObserver(self._jobTold)
        self._closeQuestion.watch()
        self.refresh()

    def _jobTold(self, job: Job, event) -> None:
        if job.isRunning():
            return
        self._closeQuestion.watch()
        if job.state == "failed":
            logging.warning("HSSL: %s failed: %s", job.kind, job.error)
            if job.failure in ("ImportError", "ModuleNotFoundError", "OSError", "AttributeError") and not job.phase:
                # It died while it was loading: is it the packages?
                self.settings.onCheck()
        self.forget()
        self.refreshSoon()

    def _parametersModified(self, caller, event) -> None:
        self.refreshSoon()
