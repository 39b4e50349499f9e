"""PySide6 dressed as PythonQt's `qt`: properties as attributes, old-style connect, no name that Slicer's Qt 5.15 lacks.

The PySide6 classes themselves are patched, because Slicer compares types (`type(widget) in (qt.QSpinBox, …)`): a
subclass would not be recognised, and a .ui file would not create it.
"""

from __future__ import annotations

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("PYSIDE6_OPTION_PYTHON_ENUM", "0x02")  # every enum is an int, as PythonQt's are

import functools
import inspect
import re
import sys
import types
import weakref
import xml.etree.ElementTree as ElementTree

import shiboken6
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from . import api

QObject = QtCore.QObject
_MODULES = (QtCore, QtGui, QtWidgets)
_SIGNAL = QtCore.QMetaMethod.MethodType.Signal
# Called by Qt from C++ and looked up on the Python object: a property there would recurse.
_VIRTUAL_GETTERS = {"sizeHint", "minimumSizeHint"}
_PYTHONQT_MEMBERS = {"name", "className", "delete", "help", "connect", "disconnect", "exec_"}
_ALWAYS = {"staticMetaObject"}

customWidgets: dict[str, type] = {}
"""Classes that a .ui file may name besides Qt's own: filled by the ctk and qMRML stand-ins."""

withoutDesignerPlugin = {"qMRMLPlotView"}
"""Of these, what Slicer 5.10 has no Designer plugin for: a .ui file that names one gets a plain QWidget there."""

timers: weakref.WeakSet = weakref.WeakSet()
processes: weakref.WeakSet = weakref.WeakSet()
_connections: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _qtClasses():
    for module in _MODULES:
        for name in dir(module):  # dir(), since PySide6 makes its classes lazily
            candidate = getattr(module, name)
            if isinstance(candidate, type) and issubclass(candidate, QObject):
                yield candidate


# Properties as attributes


def _toPythonQt(value):
    return tuple(value) if isinstance(value, list) else value


def _attribute(cls: type, name: str) -> property:
    capital = name[0].upper() + name[1:]
    method = next((base.__dict__[name] for base in cls.__mro__ if name in base.__dict__), None)
    getter = method if callable(method) else getattr(cls, "is" + capital, None)
    setter = getattr(cls, "set" + capital, None)

    static = isinstance(getter, (staticmethod, types.BuiltinFunctionType))  # QApplication's are

    def read(self):
        if getter is None:
            return _toPythonQt(self.property(name))
        return _toPythonQt(getter() if static else getter(self))

    def write(self, value):
        if setter is not None:
            setter(value) if static else setter(self, value)
        elif not self.setProperty(name, value):
            raise AttributeError(f"Property '{name}' of {type(self).__name__} cannot be set to {value!r}")

    return property(read, write)


def _dressProperties(cls: type) -> None:
    meta = cls.staticMetaObject
    for index in range(meta.propertyOffset(), meta.propertyCount()):
        name = meta.property(index).name()
        current = inspect.getattr_static(cls, name, None)
        if name in _VIRTUAL_GETTERS or isinstance(current, (QtCore.Signal, property)) and name in cls.__dict__:
            continue
        if cls is QtWidgets.QLayout and name == "contentsMargins":  # a property since Qt 6 only
            continue
        if not isinstance(current, QtCore.Signal):
            setattr(cls, name, _attribute(cls, name))


# Signals by their C++ signature

_shibokenConnect = QObject.connect


def _normalised(signature: str) -> str:
    return re.sub(r"\bconst\b|&|\s", "", signature)


def _declaredSignals(obj, name: str) -> list[str]:
    meta = obj.metaObject()
    methods = (meta.method(index) for index in range(meta.methodCount()))
    return [
        bytes(method.methodSignature()).decode()
        for method in methods
        if method.methodType() == _SIGNAL and bytes(method.name()).decode() == name
    ]


def _slicerSignals(obj) -> set[str] | None:
    """Signatures that Slicer's class and its bases have; None where one of them was not described."""
    found: set[str] = set()
    for cls in type(obj).__mro__:
        described = _describedName(cls)
        if described is None:
            continue
        if api.members(described) is None or api.signals(described) is None:
            return None
        found |= api.signals(described)
    return found


def _signal(obj, signature: str):
    """The bound signal that `signature` names; raises ValueError where Slicer or Qt has no such signal."""
    wanted = _normalised(signature)
    match = re.fullmatch(r"(\w+)\((.*)\)", wanted)
    if match is None:
        raise ValueError(f"connect needs a signal with its argument types, got {signature!r}")
    name, arguments = match.groups()
    declared = _declaredSignals(obj, name)
    ours = re.sub(r"vtk\w+\*", "PyObject", wanted)  # signals of the stand-ins carry MRML objects as Python objects
    known = _slicerSignals(obj)
    userDefined = any(
        isinstance(inspect.getattr_static(cls, name, None), QtCore.Signal)
        and "harness" not in cls.__module__
        and not cls.__module__.startswith("PySide6")
        for cls in type(obj).__mro__[:1]
    )
    if ours not in declared or (known is not None and wanted not in known and not userDefined):
        raise ValueError(
            f"No such signal {obj.metaObject().className()}::{signature}; "
            f"Slicer and this Qt both have {sorted(set(declared) & (known or set(declared)))}"
        )
    bound = QObject.__getattribute__(obj, name)
    return bound[ours[len(name) + 1 : -1]] if len(declared) > 1 else bound


def _argumentCount(slot) -> int | None:
    """How many positional arguments a slot takes at most, None for any number."""
    try:
        parameters = inspect.signature(slot).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind == parameter.VAR_POSITIONAL for parameter in parameters):
        return None
    return sum(
        parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD) for parameter in parameters
    )


def _connect(self, *arguments):
    if len(arguments) == 2 and isinstance(arguments[0], str) and callable(arguments[1]):
        signature, slot = arguments
        bound = _signal(self, signature)
        carried = signature[signature.index("(") + 1 : -1].strip()
        count = len(carried.split(",")) if carried else 0
        taken = _argumentCount(slot)
        limit = count if taken is None else min(count, taken)

        def deliver(*values):
            return slot(*values[:limit])

        bound.connect(deliver)
        _connections.setdefault(self, []).append((_normalised(signature), slot, deliver))
        return True
    if len(arguments) == 3 and isinstance(arguments[0], str) and isinstance(arguments[1], QObject):
        signature, receiver, slot = arguments
        return _connect(self, signature, getattr(receiver, slot.split("(")[0]))
    if arguments and isinstance(arguments[0], QObject):
        return _shibokenConnect(*arguments)  # PySide6's own QTimer.singleShot asks for it
    raise ValueError(
        f"connect(signal, callable) or connect(signal, receiver, slot) is what PythonQt takes, got {arguments!r}"
    )


def _disconnect(self, *arguments):
    if not arguments or not isinstance(arguments[0], str):
        raise ValueError(f"disconnect(signal[, callable]) is what PythonQt takes, got {arguments!r}")
    wanted = _normalised(arguments[0])
    kept = _connections.get(self, [])
    gone = [entry for entry in kept if entry[0] == wanted and (len(arguments) == 1 or entry[1] == arguments[1])]
    for entry in gone:
        _signal(self, arguments[0]).disconnect(entry[2])
        kept.remove(entry)
    return bool(gone)


# Which names an object has


def _isQt(cls: type) -> bool:
    return cls.__module__.startswith(("PySide6", "Shiboken"))


def _describedName(cls: type) -> str | None:
    """The key under which Slicer's class of this name is described, None for Python's own and the module's classes."""
    if _isQt(cls):
        return f"qt.{cls.__name__}" if issubclass(cls, QObject) else None
    if cls.__module__.startswith(__package__):
        stated = cls.__dict__.get("_slicerName")
        if stated is not None:
            return stated
        for prefix, module in (("ctk", "ctk"), ("qMRML", "slicer"), ("qSlicer", "slicer")):
            if cls.__name__.startswith(prefix):
                return f"{module}.{cls.__name__}"
    return None


@functools.cache
def _nameAllowed(cls: type, name: str) -> bool:
    """Whether Slicer's class of this name has the attribute; a class that was not described keeps PySide6's names."""
    if name in _PYTHONQT_MEMBERS or name in _ALWAYS or name.startswith("_"):
        return True
    for base in cls.__mro__:
        described = _describedName(base)
        if described is None:
            if not _isQt(base) and base is not object and name in base.__dict__:
                return True  # defined by the module under test, or a private mixin of a stand-in
            continue
        own = api.members(described)
        if own is None:
            if name in base.__dict__:
                return True
        elif name in own:
            return True
        elif api.signals(described) is None and isinstance(base.__dict__.get(name), property):
            return True  # an abstract class was described without its properties
    return False


def _named(name: str) -> bool:
    """Whether the calling Python code spells the name, as opposed to Qt looking for an overridden virtual method."""
    code = sys._getframe(2).f_code
    return name in code.co_names or name in code.co_consts


_HOOKED = {"connect": _connect, "disconnect": _disconnect}


def _hookReading(cls: type) -> None:
    # QObject.connect is resolved inside Shiboken's tp_getattro: instances never see another one put on the class.
    original = cls.__getattribute__

    def read(self, name):
        method = _HOOKED.get(name)
        if method is not None:
            return functools.partial(method, self)
        if (
            not _nameAllowed(type(self), name)
            and name not in object.__getattribute__(self, "__dict__")
            and _named(name)
        ):
            if name.encode() in [bytes(known) for known in original(self, "dynamicPropertyNames")()]:
                return original(self, "property")(name)
            raise AttributeError(
                f"{type(self).__name__} has no attribute named '{name}' in Slicer {api.digest()['slicer']}"
            )
        try:
            return original(self, name)
        except AttributeError:
            if name[:1].isupper() and hasattr(type(self), name):  # enum values are reached on instances too
                return getattr(type(self), name)
            raise

    cls.__getattribute__ = read


def _hookWriting(cls: type) -> None:
    def write(self, name, value):
        described = inspect.getattr_static(type(self), name, None)
        if (
            _describedName(type(self)) is not None
            and not name.startswith("_")
            and not isinstance(value, QtCore.SignalInstance)
        ):
            if described is None or not _nameAllowed(type(self), name):
                if name.encode() not in [bytes(known) for known in self.dynamicPropertyNames()]:
                    raise AttributeError(
                        f"Attribute '{name}' does not exist on {type(self).__name__}, "
                        "and new attributes cannot be put on C++ objects"
                    )
                self.setProperty(name, value)
                return
            if not isinstance(described, (property, QtCore.Property)):
                raise AttributeError(f"Slot '{name}' can not be overwritten on {type(self).__name__} object")
        if isinstance(described, property):
            described.__set__(self, value)
        elif isinstance(described, QtCore.Property):
            if not self.setProperty(name, value):
                raise AttributeError(f"Property '{name}' of {type(self).__name__} cannot be set to {value!r}")
        else:
            self.__dict__[name] = value

    cls.__setattr__ = write


class _SingleShot:
    """`QTimer.singleShot(msec, callable)` is a function on the class and on instances, never the property."""

    def __init__(self, function):
        self.function = function

    def __get__(self, obj, cls=None):
        return self.function


def _dress() -> None:
    singleShot = QtCore.QTimer.singleShot
    objectName, setObjectName = QObject.objectName, QObject.setObjectName
    classes = list(_qtClasses())
    for cls in classes:
        _dressProperties(cls)
    QtCore.QTimer.singleShot = _SingleShot(singleShot)
    QObject.objectName = property(lambda self: objectName(self), lambda self, value: setObjectName(self, value))
    QObject.name = QObject.objectName
    QObject.className = lambda self: self.metaObject().className()
    QObject.delete = lambda self: self.deleteLater()
    QObject.__bool__ = lambda self: shiboken6.isValid(self)
    for cls in classes:
        if cls is QObject or "__getattribute__" in cls.__dict__:
            _hookReading(cls)
        if "__setattr__" in cls.__dict__:
            _hookWriting(cls)


# Classes that need more than new attributes


class QTimer(QtCore.QTimer):
    """A timer that the harness can find again when a test ends."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        timers.add(self)


class QProcess(QtCore.QProcess):
    """A process that the harness can find again when a test ends."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        processes.add(self)


QTimer.__module__ = QProcess.__module__ = "PySide6.QtCore"


class QUiLoader(QtUiTools.QUiLoader):
    """Loads .ui files; a class that is neither Qt's nor a stand-in's raises instead of becoming a plain QWidget."""

    def createWidget(self, className, parent=None, name=""):
        if className in withoutDesignerPlugin:
            raise ValueError(
                f"{className} has no Designer plugin: Slicer makes a plain QWidget of it. Make it in Python."
            )
        if className in customWidgets:
            widget = customWidgets[className](parent) if parent is not None else customWidgets[className]()
            widget.setObjectName(name)
            return widget
        return super().createWidget(className, parent, name)

    def load(self, device, parentWidget=None):
        root = ElementTree.fromstring(bytes(device.readAll()))
        self._refuseUnknownNames(root)
        wiring = self._takeMRMLConnections(root)
        chosen = self._takeEnumsOfStandIns(root)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        widget = super().load(buffer, parentWidget)
        if widget is None:
            raise ValueError(f"The .ui file cannot be loaded: {self.errorString()}")

        def named(name):
            return widget if widget.objectName == name else widget.findChild(QtWidgets.QWidget, name)

        for name, attribute, value in chosen:
            setattr(named(name), attribute, value)
        for sender, signal, receiver, slot in wiring:
            source, target = named(sender), named(receiver)
            if source is None or target is None:
                raise ValueError(f".ui connection cannot be made: {sender}.{signal} -> {receiver}.{slot}")
            source.connect(signal, getattr(target, slot.split("(")[0]))
        return widget

    @staticmethod
    def _takeMRMLConnections(root) -> list[tuple[str, ...]]:
        """QUiLoader cannot connect signatures with MRML types: they are taken out and made in Python."""
        taken = []
        for connections in root.findall("connections"):
            for connection in list(connections):
                if "MRML" in connection.findtext("signal", ""):
                    taken.append(tuple(connection.findtext(key) for key in ("sender", "signal", "receiver", "slot")))
                    connections.remove(connection)
        return taken

    @staticmethod
    def _takeEnumsOfStandIns(root) -> list[tuple[str, str, int]]:
        """QUiLoader does not know the enums of Python classes: those properties are taken out and set in Python."""
        taken = []
        for element in root.iter("widget"):
            cls = customWidgets.get(element.get("class"))
            for entry in element.findall("property") if cls is not None else ():
                if type(cls.__dict__.get(entry.get("name"))) is QtCore.Property and entry[0].tag in ("set", "enum"):
                    values = [
                        getattr(cls if scope in ("", cls.__name__) else getattr(QtWidgets, scope, QtCore.Qt), name)
                        for scope, _, name in (text.rpartition("::") for text in entry[0].text.split("|"))
                    ]
                    taken.append(
                        (
                            element.get("name"),
                            entry.get("name"),
                            functools.reduce(lambda one, other: one | other, values),
                        )
                    )
                    element.remove(entry)
        return taken

    def _refuseUnknownNames(self, root) -> None:
        """Qt only warns of a class or a property that it lacks; a misspelt one would pass unseen."""
        for element in root.iter("widget"):
            className = element.get("class")
            cls = customWidgets.get(className) or getattr(QtWidgets, className, None)
            if cls is None and className != "Line":
                raise ValueError(f"The .ui file names the widget class {className}, which the harness does not have")
            for entry in element.findall("property") if cls is not None else ():
                if entry.get("stdset") != "0" and not _nameAllowed(cls, entry.get("name")):
                    raise ValueError(
                        f"The .ui file sets the property {entry.get('name')} on {element.get('name')}, "
                        f"which {className} does not have"
                    )


def _buildDialogButtonsAsPythonQt() -> None:
    """PythonQt takes flags in this constructor for an orientation: no button is made, and nothing is said."""
    original = QtWidgets.QDialogButtonBox.__init__

    def build(self, *arguments, **named):
        flags = QtWidgets.QDialogButtonBox.StandardButton
        original(self, *(a for a in arguments if not isinstance(a, flags)), **named)

    QtWidgets.QDialogButtonBox.__init__ = build


def createModule() -> types.ModuleType:
    """`qt` as modules import it: the names that Slicer's and this Qt share, nothing else."""
    _dress()
    _buildDialogButtonsAsPythonQt()
    module = types.ModuleType("qt", "Stand-in for PythonQt's qt module")
    offered = api.names("qt")
    for source in _MODULES:
        for name in dir(source):
            if name in offered and not name.startswith("_"):
                setattr(module, name, getattr(source, name))
    for replacement in (QTimer, QProcess, QUiLoader):
        setattr(module, replacement.__name__, replacement)
    return module
