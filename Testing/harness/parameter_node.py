"""`slicer.parameterNodeWrapper`: typed parameters kept in a scripted module node, and tied to widgets.

The values are written under the same names as by Slicer, so that a scene saved there opens here. A type, an annotation
or a pair of type and widget that Slicer cannot handle raises.
"""

from __future__ import annotations

import collections.abc
import enum
import pathlib
import sys
import types
import typing

import ctk
import qt
import vtk

import slicer

SlicerParameterNamePropertyName = "SlicerParameterName"
_PATHS = (
    pathlib.Path,
    pathlib.PosixPath,
    pathlib.WindowsPath,
    pathlib.PurePath,
    pathlib.PurePosixPath,
    pathlib.PureWindowsPath,
)


# Annotations


class Default:
    def __init__(self, value=None, *, generator=None):
        self._value, self._generator = value, generator

    @property
    def value(self):
        return self._generator() if self._generator is not None else self._value


class Decimals:
    def __init__(self, value):
        self.value = value


class SingleStep:
    def __init__(self, value):
        self.value = value


class Validator:
    """Base of the annotations that refuse a value."""

    def validate(self, value):
        raise NotImplementedError


class NotNone(Validator):
    def validate(self, value):
        if value is None:
            raise ValueError("Value must not be None")


class IsInstance(Validator):
    def __init__(self, classtype):
        self.classtype = classtype

    def validate(self, value):
        if value is not None and not isinstance(value, self.classtype):
            raise TypeError(f"Value must be of type {self.classtype}, is {value!r}")


class WithinRange(Validator):
    def __init__(self, minimum, maximum):
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


class Minimum(Validator):
    def __init__(self, minimum):
        self.minimum = minimum

    def validate(self, value):
        if value < self.minimum:
            raise ValueError(f"Value must be at least {self.minimum}, is {value}")


class Maximum(Validator):
    def __init__(self, maximum):
        self.maximum = maximum

    def validate(self, value):
        if value > self.maximum:
            raise ValueError(f"Value must be at most {self.maximum}, is {value}")


class Choice(Validator):
    def __init__(self, choices):
        self.choices = choices

    def validate(self, value):
        if value not in self.choices:
            raise ValueError(f"Value is {value!r}, but must be one of {self.choices}")


class Exclude(Validator):
    def __init__(self, excludedValues):
        self.excludedValues = excludedValues

    def validate(self, value):
        if value in self.excludedValues:
            raise ValueError(f"Value {value!r} is excluded")


def splitAnnotations(datatype):
    arguments = typing.get_args(typing.Annotated[datatype, "end"])
    return arguments[0], arguments[1:-1]


def unannotatedType(datatype):
    return splitAnnotations(datatype)[0]


def findFirstAnnotation(annotations, kind):
    return next((annotation for annotation in annotations if isinstance(annotation, kind)), None)


# How one type is kept in a node: write, read, remove, and whether a value is there


class _Text:
    """Types that are one string."""

    def __init__(self, fromText, toText, default, accepted):
        self.fromText, self.toText, self._default, self.accepted = fromText, toText, default, accepted

    def default(self):
        return self._default

    def check(self, value):
        if value is None:
            raise ValueError("Value must not be None")
        if not isinstance(value, self.accepted):
            raise TypeError(f"Value must be of type {self.accepted}, is {value!r}")

    def isIn(self, node, name):
        return node.HasParameter(name)

    def write(self, node, name, value):
        node.SetParameter(name, self.toText(value))

    def read(self, node, name):
        return self.fromText(node.GetParameter(name))

    def remove(self, node, name):
        node.UnsetParameter(name)


class _Node:
    """A node of the scene: kept as a reference, so that it survives saving and renaming."""

    def __init__(self, classes):
        self.classes = classes

    def default(self):
        return None

    def check(self, value):
        if value is not None and not isinstance(value, self.classes):
            raise TypeError(f"Value must be one of {self.classes}, is {value!r}")

    def isIn(self, node, name):
        return node.HasParameter(name)

    def write(self, node, name, value):
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, node, name):
        return node.GetNodeReference(name)

    def remove(self, node, name):
        node.UnsetParameter(name)
        node.RemoveNodeReferenceIDs(name)


class _Tuple:
    def __init__(self, kinds):
        self.kinds = kinds

    def default(self):
        return tuple(kind.default() for kind in self.kinds)

    def check(self, value):
        if len(value) != len(self.kinds):
            raise ValueError(f"{len(self.kinds)} values are needed, got {value!r}")
        for kind, item in zip(self.kinds, value, strict=True):
            kind.check(item)

    def isIn(self, node, name):
        return self.kinds[0].isIn(node, f"{name}.0")

    def write(self, node, name, value):
        for index, (kind, item) in enumerate(zip(self.kinds, value, strict=True)):
            kind.write(node, f"{name}.{index}", item)

    def read(self, node, name):
        return tuple(kind.read(node, f"{name}.{index}") for index, kind in enumerate(self.kinds))

    def remove(self, node, name):
        for index, kind in enumerate(self.kinds):
            kind.remove(node, f"{name}.{index}")


class _List:
    def __init__(self, kind):
        self.kind = kind

    def default(self):
        return []

    def check(self, value):
        for item in value:
            self.kind.check(item)

    def isIn(self, node, name):
        return node.HasParameter(f"{name}.len")

    def _length(self, node, name):
        return int(node.GetParameter(f"{name}.len") or 0)

    def write(self, node, name, value):
        values = list(value)
        for index, item in enumerate(values):
            self.kind.write(node, f"{name}.{index}", item)
        for index in range(len(values), self._length(node, name)):
            self.kind.remove(node, f"{name}.{index}")
        node.SetParameter(f"{name}.len", str(len(values)))

    def items(self, node, name):
        return [self.kind.read(node, f"{name}.{index}") for index in range(self._length(node, name))]

    def read(self, node, name):
        return ObservedList(node, name, self, self.items(node, name))

    def remove(self, node, name):
        for index in range(self._length(node, name)):
            self.kind.remove(node, f"{name}.{index}")
        node.UnsetParameter(f"{name}.len")


class _Dict(_List):
    def __init__(self, key, value):
        super().__init__(_Tuple([key, value]))

    def default(self):
        return {}

    def check(self, value):
        super().check(value.items())

    def write(self, node, name, value):
        super().write(node, name, value.items())

    def read(self, node, name):
        return ObservedDict(node, name, self, dict(self.items(node, name)))


class ObservedList(collections.abc.MutableSequence):
    """A list that writes itself back to the node whenever it changes."""

    def __init__(self, node, name, kind, items):
        self._node, self._name, self._kind, self._items = node, name, kind, items

    def _save(self):
        self._kind.check(self._items)
        with slicer.util.NodeModify(self._node):
            self._kind.write(self._node, self._name, self._items)

    def __len__(self):
        return len(self._items)

    def __getitem__(self, index):
        return self._items[index]

    def __setitem__(self, index, value):
        self._items[index] = value
        self._save()

    def __delitem__(self, index):
        del self._items[index]
        self._save()

    def insert(self, index, value):
        self._items.insert(index, value)
        self._save()

    def __eq__(self, other):
        return self._items == (other._items if isinstance(other, ObservedList) else other)

    def __repr__(self):
        return f"ObservedList({self._items})"


class ObservedDict(collections.abc.MutableMapping):
    """A dict that writes itself back to the node whenever it changes."""

    def __init__(self, node, name, kind, items):
        self._node, self._name, self._kind, self._items = node, name, kind, items

    def _save(self):
        self._kind.check(self._items)
        with slicer.util.NodeModify(self._node):
            self._kind.write(self._node, self._name, self._items)

    def __len__(self):
        return len(self._items)

    def __iter__(self):
        return iter(self._items)

    def __getitem__(self, key):
        return self._items[key]

    def __setitem__(self, key, value):
        self._items[key] = value
        self._save()

    def __delitem__(self, key):
        del self._items[key]
        self._save()

    def __eq__(self, other):
        return self._items == (other._items if isinstance(other, ObservedDict) else other)

    def __repr__(self):
        return f"ObservedDict({self._items})"


class _Pack:
    """A parameter pack: each member under `name.member`."""

    def __init__(self, cls):
        self.cls = cls

    def default(self):
        return self.cls()

    def check(self, value):
        if not isinstance(value, self.cls):
            raise TypeError(f"Value must be a {self.cls.__name__}, is {value!r}")

    def isIn(self, node, name):
        member, parameter = next(iter(self.cls.allParameters.items()))
        return parameter.kind.isIn(node, f"{name}.{member}")

    def write(self, node, name, value):
        for member, parameter in self.cls.allParameters.items():
            parameter.write(node, f"{name}.{member}", getattr(value, member))

    def read(self, node, name):
        values = {
            member: parameter.kind.read(node, f"{name}.{member}")
            for member, parameter in self.cls.allParameters.items()
        }
        pack = self.cls(**values)
        pack.__dict__["_kept"] = (node, name)
        return pack

    def remove(self, node, name):
        for member, parameter in self.cls.allParameters.items():
            parameter.kind.remove(node, f"{name}.{member}")


def _kind(datatype):
    """How values of `datatype` are kept; raises for a type that Slicer's wrapper cannot keep."""
    datatype, annotations = splitAnnotations(datatype)
    if isinstance(datatype, type):
        if datatype is bool:
            return _Text(lambda text: text == "True", lambda value: "True" if value else "False", False, bool)
        if datatype is int:
            return _Text(int, str, 0, int)
        if datatype is float:
            return _Text(float, str, 0, (int, float))
        if datatype is str:
            return _Text(str, str, "", str)
        if datatype in _PATHS:
            return _Text(datatype, str, datatype(), datatype)
        if issubclass(datatype, enum.Enum):
            return _Text(lambda text: datatype[text], lambda value: value.name, next(iter(datatype)), datatype)
        if issubclass(datatype, slicer.vtkMRMLNode):
            return _Node((datatype,))
        if isParameterPack(datatype):
            return _Pack(datatype)
    origin, arguments = typing.get_origin(datatype), typing.get_args(datatype)
    if origin is list and arguments:
        return _List(_kind(arguments[0]))
    if origin is dict and arguments:
        return _Dict(_kind(arguments[0]), _kind(arguments[1]))
    if origin is tuple and arguments:
        return _Tuple([_kind(argument) for argument in arguments])
    if origin is typing.Union:
        classes = tuple(argument for argument in arguments if argument is not type(None))
        if all(isinstance(cls, type) and issubclass(cls, slicer.vtkMRMLNode) for cls in classes):
            return _Node(classes)
    raise TypeError(f"Unable to create serializer for type: {datatype}")


class _Parameter:
    """One declared parameter: its type, how it is kept, what it refuses, and its default."""

    def __init__(self, owner, name, datatype):
        self.datatype = datatype
        actual, annotations = splitAnnotations(datatype)
        unknown = [
            annotation
            for annotation in annotations
            if not isinstance(annotation, (Validator, Default, Decimals, SingleStep))
        ]
        if unknown:
            raise TypeError(f"{owner.__name__}.{name} has annotations that Slicer's wrapper would ignore: {unknown}")
        self.kind = _kind(actual)
        self.validators = [annotation for annotation in annotations if isinstance(annotation, Validator)]
        if name in owner.__dict__:
            self._default = Default(owner.__dict__[name])
        else:
            self._default = findFirstAnnotation(annotations, Default) or Default(generator=self.kind.default)
        self.check(self._default.value)

    @property
    def default(self):
        return self._default

    def check(self, value):
        self.kind.check(value)
        for validator in self.validators:
            validator.validate(value)

    def write(self, node, name, value):
        self.check(value)
        self.kind.write(node, name, value)


def _declared(cls):
    return {
        name: _Parameter(cls, name, datatype)
        for name, datatype in typing.get_type_hints(cls, include_extras=True).items()
    }


# Packs


def isParameterPack(candidate) -> bool:
    return getattr(candidate, "_is_parameterPack", False)


def _packMember(name):
    def write(self, value):
        self.allParameters[name].check(value)
        self.__dict__[f"_{name}"] = value
        if "_kept" in self.__dict__:
            node, prefix = self.__dict__["_kept"]
            with slicer.util.NodeModify(node):
                self.allParameters[name].write(node, f"{prefix}.{name}", value)

    return property(lambda self: self.__dict__[f"_{name}"], write)


def parameterPack(cls=None):
    """Class decorator: a group of parameters that is itself the type of a parameter."""
    if cls is None:
        return parameterPack
    parameters = _declared(cls)
    if not parameters:
        raise ValueError("Unable to find any members in parameterPack")

    def initialise(self, *values, **named):
        given = {**dict(zip(parameters, values, strict=False)), **named}
        if len(values) + len(named) != len(given) or not set(given) <= set(parameters):
            raise TypeError(f"{cls.__name__} takes {list(parameters)}, got {given}")
        for name, parameter in parameters.items():
            setattr(self, name, given.get(name, parameter.default.value))

    for name in parameters:
        setattr(cls, name, _packMember(name))
    cls.allParameters, cls._is_parameterPack = parameters, True
    cls.__init__ = initialise
    cls.__eq__ = lambda self, other: (
        isinstance(other, cls) and all(getattr(self, name) == getattr(other, name) for name in parameters)
    )
    cls.__repr__ = lambda self: f"{cls.__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in parameters)})"
    cls.dataType = staticmethod(lambda name: _dataType(cls, name))
    cls.getValue = lambda self, name: _getPath(self, name)
    cls.setValue = lambda self, name, value: _setPath(self, name, value)
    return cls


def _getPath(owner, name):
    for part in name.split("."):
        _checkName(type(owner), part)
        owner = getattr(owner, part)
    return owner


def _setPath(owner, name, value):
    *path, last = name.split(".")
    owner = _getPath(owner, ".".join(path)) if path else owner
    _checkName(type(owner), last)
    setattr(owner, last, value)


def _checkName(cls, name):
    if name not in getattr(cls, "allParameters", {}):
        raise ValueError(
            f"Cannot find a param with the given name: {name}; found {list(getattr(cls, 'allParameters', {}))}"
        )


def _dataType(cls, name):
    first, _, rest = name.partition(".")
    _checkName(cls, first)
    datatype = cls.allParameters[first].datatype
    return _dataType(unannotatedType(datatype), rest) if rest else datatype


# Widgets


class _Connection:
    """One widget that shows one parameter."""

    def __init__(self, widget, read, write, signal):
        self.widget, self.read, self.write, self.signal = widget, read, write, signal
        self._slot = None

    def connect(self, slot):
        self._slot = lambda *_: slot()
        if self.signal is not None:
            getattr(self.widget, self.signal).connect(self._slot)

    def disconnect(self):
        if self.signal is not None:
            getattr(self.widget, self.signal).disconnect(self._slot)


def _attributeConnection(widget, attribute, signal, fromWidget=lambda value: value, toWidget=lambda value: value):
    return _Connection(
        widget,
        lambda: fromWidget(getattr(widget, attribute)),
        lambda value: setattr(widget, attribute, toWidget(value)),
        signal,
    )


def _choiceConnection(widget, choices, labels):
    shown = widget.currentIndex
    widget.clear()
    for label in labels:
        widget.addItem(label)
    widget.currentIndex = max(shown, 0)

    def write(value):
        if value not in choices:
            raise ValueError(f"Unable to find value {value} in choices {choices}")
        widget.currentIndex = choices.index(value)

    return _Connection(widget, lambda: choices[widget.currentIndex], write, "currentIndexChanged")


def _limits(annotations, lowest, highest):
    within = findFirstAnnotation(annotations, WithinRange)
    minimum, maximum = findFirstAnnotation(annotations, Minimum), findFirstAnnotation(annotations, Maximum)
    low = within.minimum if within else minimum.minimum if minimum else lowest
    high = within.maximum if within else maximum.maximum if maximum else highest
    return low, high, within is not None or (minimum is not None and maximum is not None)


def _numberConnection(widget, datatype, annotations):
    integer, whole = datatype is int, type(widget) in (qt.QSlider, qt.QSpinBox)
    low, high, bounded = _limits(
        annotations, -(2**31) if whole else float("-inf"), 2**31 - 1 if whole else float("inf")
    )
    if type(widget) in (qt.QSlider, ctk.ctkSliderWidget, slicer.qMRMLSliderWidget) and not bounded:
        raise RuntimeError(f"Cannot have a connection to {type(widget).__name__} where the type is unbounded.")
    decimals, step = findFirstAnnotation(annotations, Decimals), findFirstAnnotation(annotations, SingleStep)
    if not whole and (integer or decimals):
        widget.decimals = 0 if integer else decimals.value
    if step:
        widget.singleStep = step.value
    widget.minimum, widget.maximum = low, high
    return _attributeConnection(widget, "value", "valueChanged", int if integer else float)


def createGuiConnector(widget, datatype):
    """The connection of a widget with a parameter of this type; raises where Slicer knows none."""
    actual, annotations = splitAnnotations(datatype)
    cls = type(widget)
    if actual is bool and cls in (qt.QCheckBox, ctk.ctkCheckBox):
        return _attributeConnection(widget, "checked", "stateChanged")
    if actual is bool and cls is qt.QPushButton:
        widget.checkable = True
        return _attributeConnection(widget, "checked", "toggled")
    if actual is int and cls in (qt.QSlider, qt.QSpinBox):
        return _numberConnection(widget, actual, annotations)
    if actual in (int, float) and cls in (
        qt.QDoubleSpinBox,
        ctk.ctkSliderWidget,
        ctk.ctkDoubleSpinBox,
        slicer.qMRMLSliderWidget,
        slicer.qMRMLSpinBox,
    ):
        return _numberConnection(widget, actual, annotations)
    if cls in (qt.QComboBox, ctk.ctkComboBox):
        if isinstance(actual, type) and issubclass(actual, enum.Enum):
            choices = list(actual)
            label = getattr(actual, "label", lambda member: member.name)
            return _choiceConnection(widget, choices, [label(member) for member in choices])
        if actual in (int, float, str, bool):
            choice = findFirstAnnotation(annotations, Choice)
            if choice is None:
                raise RuntimeError("ComboBoxToStringableConnector requires the Choice annotation to be used.")
            return _choiceConnection(widget, list(choice.choices), [str(value) for value in choice.choices])
    if actual is str and cls is qt.QLineEdit:
        connection = _attributeConnection(widget, "text", "textChanged")
        connection.write = lambda value: setattr(widget, "text", value) if value != widget.text else None
        return connection
    if actual is str and cls is qt.QLabel:
        return _attributeConnection(widget, "text", None)
    if actual is str and cls is qt.QTextEdit:
        return _Connection(widget, widget.toPlainText, widget.setPlainText, "textChanged")
    if actual in _PATHS and cls is ctk.ctkPathLineEdit:
        return _attributeConnection(widget, "currentPath", "currentPathChanged", actual, str)
    if actual in _PATHS and cls is ctk.ctkDirectoryButton:
        return _attributeConnection(widget, "directory", "directoryChanged", actual, str)
    if cls is slicer.qMRMLNodeComboBox:
        kind = _kind(actual)
        if isinstance(kind, _Node):
            widget.nodeTypes = [nodeClass().GetClassName() for nodeClass in kind.classes]
            return _Connection(widget, widget.currentNode, widget.setCurrentNode, "currentNodeChanged")
    raise RuntimeError(f"Unable to create GUI connector from datatype '{datatype}' to widget type '{cls}'")


# The wrapper


def isParameterNodeWrapper(candidate) -> bool:
    return getattr(candidate, "_is_parameter_node_wrapper", False)


def _member(name):
    def read(self):
        return self.allParameters[name].kind.read(self.parameterNode, self._prefix + name)

    def write(self, value):
        with slicer.util.NodeModify(self.parameterNode):
            self.allParameters[name].write(self.parameterNode, self._prefix + name, value)

    return property(read, write)


def _initialise(self, parameterNode, prefix=None):
    if parameterNode is None:
        raise AssertionError("A parameter node is needed")
    self.parameterNode, self._prefix = parameterNode, prefix or ""
    self._guis, self._nextGui, self._updating = {}, 0, False
    for name, parameter in self.allParameters.items():
        if not parameter.kind.isIn(parameterNode, self._prefix + name):
            parameter.write(parameterNode, self._prefix + name, parameter.default.value)


def _connectParametersToGui(self, mapping):
    for name in mapping:
        self.dataType(name)
    connections = {name: createGuiConnector(widget, self.dataType(name)) for name, widget in mapping.items()}
    gui, self._nextGui = self._nextGui, self._nextGui + 1

    def toWidgets(caller=None, event=None):
        if self._updating:
            return
        self._updating = True
        try:
            with slicer.util.NodeModify(self.parameterNode):
                for name, connection in connections.items():
                    connection.write(self.getValue(name))
        finally:
            self._updating = False

    def fromWidget(name, connection):
        def changed():
            if not self._updating:
                self.setValue(name, connection.read())

        return changed

    for name, connection in connections.items():
        connection.write(self.getValue(name))
        connection.connect(fromWidget(name, connection))
    self._guis[gui] = (connections, self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, toWidgets))
    return gui


def _connectGui(self, gui):
    widgets = gui.findChildren(qt.QWidget) if hasattr(gui, "findChildren") else vars(gui).values()
    named = ((widget.property(SlicerParameterNamePropertyName), widget) for widget in widgets)
    return self.connectParametersToGui({name: widget for name, widget in named if name})


def _disconnectGui(self, gui):
    if gui in self._guis:
        connections, tag = self._guis.pop(gui)
        for connection in connections.values():
            connection.disconnect()
        self.parameterNode.RemoveObserver(tag)


_METHODS = {
    "connectGui": _connectGui,
    "connectParametersToGui": _connectParametersToGui,
    "disconnectGui": _disconnectGui,
    "getValue": _getPath,
    "setValue": _setPath,
    "default": lambda self, name: self.allParameters[name].default,
    "StartModify": lambda self: self.parameterNode.StartModify(),
    "EndModify": lambda self, wasModified: self.parameterNode.EndModify(wasModified),
    "AddObserver": lambda self, event, callback, priority=0.0: self.parameterNode.AddObserver(
        event, callback, priority
    ),
    "RemoveObserver": lambda self, tag: self.parameterNode.RemoveObserver(tag),
    "Modified": lambda self: self.parameterNode.Modified(),
}


def parameterNodeWrapper(cls=None):
    """Class decorator: typed attributes that live in a scripted module node."""
    if cls is None:
        return parameterNodeWrapper
    parameters = _declared(cls)
    for name in (*_METHODS, "allParameters", "dataType"):
        if name in cls.__dict__ or name in parameters:
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
    for name in parameters:
        setattr(cls, name, _member(name))
    for name, method in _METHODS.items():
        setattr(cls, name, method)
    cls.allParameters, cls._is_parameter_node_wrapper, cls.__init__ = parameters, True, _initialise
    cls.dataType = staticmethod(lambda name: _dataType(cls, name))
    return cls


def install() -> None:
    module = types.ModuleType("slicer.parameterNodeWrapper")
    for name in (
        "parameterNodeWrapper",
        "parameterPack",
        "isParameterNodeWrapper",
        "isParameterPack",
        "createGuiConnector",
        "Default",
        "Decimals",
        "SingleStep",
        "Validator",
        "NotNone",
        "IsInstance",
        "WithinRange",
        "Minimum",
        "Maximum",
        "Choice",
        "Exclude",
        "SlicerParameterNamePropertyName",
        "splitAnnotations",
        "unannotatedType",
        "findFirstAnnotation",
    ):
        setattr(module, name, globals()[name])
    module.__all__ = [name for name in vars(module) if not name.startswith("_")]
    sys.modules[module.__name__] = module
    slicer.parameterNodeWrapper = module
