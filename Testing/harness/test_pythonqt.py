"""The dressed Qt behaves as PythonQt's does, and refuses what Slicer's does not have."""

from __future__ import annotations

import ctk
import pytest
import qt

import slicer
from harness import forms


def test_a_property_is_an_attribute_and_its_setter_a_method():
    label = qt.QLabel("first")
    label.text = "second"
    label.setToolTip("why")
    assert (label.text, label.toolTip, label.name) == ("second", "why", "")
    with pytest.raises(TypeError):
        label.text()


@pytest.mark.parametrize(
    "use",
    [
        lambda widget: widget.noSuchProperty,
        lambda widget: widget.setNoSuchProperty(1),
        lambda widget: setattr(widget, "noSuchProperty", 1),
        lambda widget: setattr(widget, "setText", 1),
        lambda widget: widget.connect("noSuchSignal()", print),
        lambda widget: widget.connect("linkActivated()", print),
        lambda widget: widget.connect("linkActivated", print),
    ],
)
def test_what_a_widget_does_not_have_raises(use):
    with pytest.raises((AttributeError, ValueError)):
        use(qt.QLabel())


@pytest.mark.parametrize(
    "module, name",
    [(qt, "QAnyStringView"), (qt, "QNoSuchWidget"), (ctk, "ctkNoSuchWidget"), (slicer, "qMRMLNoSuchWidget")],
)
def test_a_name_that_a_module_does_not_have_raises(module, name):
    with pytest.raises(AttributeError):
        getattr(module, name)


def test_buttons_of_a_dialog_are_not_made_by_the_constructor():
    wanted = qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel
    assert not qt.QDialogButtonBox(wanted).buttons()
    box = qt.QDialogButtonBox()
    box.setStandardButtons(wanted)
    assert len(box.buttons()) == 2


def test_names_that_only_a_newer_qt_has_raise():
    assert not hasattr(qt.QProcess(), "unixProcessParameters")
    assert not hasattr(qt.QSortFilterProxyModel(), "autoAcceptChildRows")


def test_a_signal_that_only_qt_5_has_is_refused():
    with pytest.raises(ValueError, match="No such signal"):
        qt.QComboBox().connect("currentIndexChanged(QString)", print)


def test_a_slot_gets_no_more_arguments_than_it_takes():
    button, seen = qt.QPushButton(), []
    button.connect("clicked(bool)", lambda: seen.append("none"))
    button.connect("clicked(bool)", lambda checked: seen.append(checked))
    button.connect("clicked()", lambda *values: seen.append(values))
    button.click()
    assert seen == ["none", False, ()]


def test_disconnect_takes_back_one_connection():
    button, seen = qt.QPushButton(), []

    def first():
        seen.append("first")

    def second():
        seen.append("second")

    button.connect("clicked()", first)
    button.connect("clicked()", second)
    assert button.disconnect("clicked()", first)
    assert not button.disconnect("clicked()", print)
    button.click()
    assert seen == ["second"]


def test_enums_are_integers_and_are_reached_on_instances():
    assert qt.Qt.AlignLeft | qt.Qt.AlignTop == 0x21
    assert qt.QProcess().NotRunning == 0
    assert isinstance(qt.QMessageBox.Yes, int)


def test_models_are_subclassed_in_python():
    class Numbers(qt.QAbstractTableModel):
        def rowCount(self, parent=None):
            return 3

        def columnCount(self, parent=None):
            return 1

        def data(self, index, role=qt.Qt.DisplayRole):
            return 2 - index.row() if role == qt.Qt.DisplayRole else None

    class Even(qt.QSortFilterProxyModel):
        def filterAcceptsRow(self, row, parent):
            return self.sourceModel.data(self.sourceModel.index(row, 0)) % 2 == 0

    model, proxy = Numbers(), Even()
    proxy.setSourceModel(model)
    proxy.sort(0)
    assert [proxy.index(row, 0).data() for row in range(proxy.rowCount())] == [0, 2]


def test_a_process_runs_and_reports_its_end():
    process, ends = qt.QProcess(), []
    process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: ends.append((code, status)))
    process.start("echo", ["hello"])
    assert process.waitForFinished(10000)
    assert ends == [(0, qt.QProcess.NormalExit)]
    assert process.readAllStandardOutput().data() == b"hello\n"


def test_a_ui_file_with_an_unknown_widget_or_property_is_refused(tmp_path):
    def text(name):
        return f'<property name="{name}"><string>x</string></property>'

    form = slicer.util.loadUI(forms.write(tmp_path, forms.widget("ctkPathLineEdit", "path", text("label"))))
    assert slicer.util.childWidgetVariables(form).path.label == "x"
    for element in (forms.widget("ctkNoSuchWidget", "w"), forms.widget("QLabel", "w", text("txet"))):
        with pytest.raises(ValueError, match=r"\.ui file"):
            slicer.util.loadUI(forms.write(tmp_path, element))


def test_a_dynamic_property_of_a_ui_file_can_be_read(tmp_path):
    form = slicer.util.loadUI(forms.write(tmp_path, forms.widget("QCheckBox", "check", parameter="flips")))
    assert slicer.util.childWidgetVariables(form).check.property("SlicerParameterName") == "flips"
