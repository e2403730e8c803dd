"""Registries: from the `type` of a config to the class it names."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

from mmkit.config.config_dict import ConfigDict
from mmkit.config.explain import spelled_number
from mmkit.errors import InvalidTypeError, InvalidValueError, UnknownNameError, UserError, summary
from mmkit.utils.imports import find_class
from mmkit.utils.names import ELSEWHERE, nearest, unscoped

if TYPE_CHECKING:
    from inspect import Parameter

    from torch import nn
    from torch.optim import Optimizer

    from mmkit.protocols import (
        Assigner,
        BBoxHead,
        BoxCoder,
        BoxSampler,
        ClassificationHead,
        DenseHead,
        Initializer,
        IoUCalculator,
        MaskHead,
        MatchCost,
        Metric,
        OptimizerBuilder,
        PriorGenerator,
        ProposalHead,
        RoIExtractor,
        RoIHead,
        SemanticHead,
        Transform,
        VisBackend,
    )

# The way of a user's class into a registry, for messages.
_OWN_CLASS = (
    "list its module in custom_imports=dict(imports=['package.module']) of a trusted config, or import it yourself"
)
Cfg = Mapping[str, Any]  # of one object: its `type` and its arguments
_UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")
_NUMBERS = ('int', 'float', 'int | None', 'float | None')  # annotations of arguments that are numbers
T = TypeVar('T')
S = TypeVar('S')
Target = TypeVar('Target', bound=Callable[..., Any])


class Registry(Generic[T]):
    """Classes and functions that make a T, by the name a config uses for them.

    Args:
        name: what it holds, in the singular, for messages: 'backbone'.
        parent: the registry whose names this one shares: a view for those who build one kind of what it holds.
        verbs: methods that everything built from a view must have.
    """

    everything: ClassVar[list[Registry[Any]]] = []  # so that an unknown name can be looked for elsewhere

    def __init__(self, name: str, parent: Registry[Any] | None = None, verbs: Sequence[str] = ()) -> None:
        self.name = name
        self.verbs = tuple(verbs)
        self._entries: dict[str, Callable[..., Any]] = parent._entries if parent is not None else {}
        if parent is None:
            Registry.everything.append(self)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and unscoped(name) in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f'Registry({self.name!r}: {", ".join(sorted(self._entries)) or "empty"})'

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        return sorted(self._entries)

    def get(self, name: str) -> Callable[..., T]:
        """The class or function registered as `name`, or the class at a dotted path (see mmkit.utils.imports).

        'mmdet.ResNet' and 'mmdet.models.ResNet' are 'ResNet', and so it is with the other `SCOPES`.

        Raises:
            UnknownNameError: nothing is; the message has the nearest names.
        """
        name = unscoped(name)
        if name in self._entries:
            return self._entries[name]
        if '.' in name:
            return find_class(name)
        raise UnknownNameError(self._unknown(name), key='type')

    def _unknown(self, name: str) -> str:
        if name in ELSEWHERE:
            return f'{name!r} is a part of mmdetection that mmkit does not have. For one of your own, {_OWN_CLASS}'
        message = f'{name!r} is not a registered {self.name}'
        near = nearest(name, self._entries)
        if near:
            message += f'; the nearest: {", ".join(near)}'
        elif not self._entries:
            message += ' (none is registered: has the package that registers them been imported?)'
        others = [other.name for other in Registry.everything if name in other and other._entries is not self._entries]
        if others:
            message += f'; there is a {" and a ".join(others)} of this name'
        return f'{message}. For a class of your own, {_OWN_CLASS}'

    @overload
    def register_module(
        self,
        name: str | Sequence[str] | None = None,
        force: bool = False,
        module: None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> Callable[[Target], Target]: ...

    @overload
    def register_module(
        self,
        name: str | Sequence[str] | None = None,
        force: bool = False,
        *,
        module: Target,
        defaults: Mapping[str, Any] | None = None,
    ) -> Target: ...

    def register_module(
        self,
        name: str | Sequence[str] | None = None,
        force: bool = False,
        module: Target | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> Callable[[Target], Target] | Target:
        """Register a class or function: `@REG.register_module()`, or `REG.register_module(module=Class)`.

        Args:
            name: its name in configs, or several; by default its own.
            force: replace the present holder of the name.
            module: the class or function, where this isn't used as a decorator.
            defaults: other defaults of its arguments, for a variant that needs no class of its own.

        Raises:
            KeyError: the name is taken.
        """
        if not (name is None or isinstance(name, (str, list, tuple))):
            raise TypeError(f'name is a string or a list of them, got {name!r}; a decorator needs its parentheses')

        def register(target: Target) -> Target:
            for each in [target.__name__] if name is None else [name] if isinstance(name, str) else name:
                if each in self._entries and not force:
                    raise KeyError(
                        f'{each!r} is registered twice as a {self.name}: at {_place(self._entries[each])} and at '
                        f'{_place(target)}; force=True replaces the first'
                    )
                self._entries[each] = _with_defaults(target, each, defaults) if defaults else target
            return target

        return register if module is None else register(module)

    def build(self, cfg: Mapping[str, Any] | T, **default_args: Any) -> T:
        """build_from_cfg with this registry."""
        return build_from_cfg(cfg, self, default_args)


def build_from_cfg(
    cfg: Mapping[str, Any] | T,
    registry: Registry[T],
    default_args: Mapping[str, Any] | None = None,
    positional: Sequence[object] = (),
) -> T:
    """Build the object that a config describes.

    Args:
        cfg: a dict with `type` (a registered name, a class, or a dotted path such as 'torch.nn.GELU') and the
            arguments of that type, left as it is; or an object, which is returned as it is.
        registry: where to look `type` up.
        default_args: arguments for which `cfg` has no value.
        positional: first arguments, for which classes have different names, as norm layers for their channels.

    Raises:
        UserError: `type` is missing or unknown, an argument is missing or unknown, `cfg` is no config, or the
            constructor raised it or a ValueError, or, being one of mmkit or torch, whatever follows from an argument of
            the wrong type; with the path in the config, the file and the line.
        Exception: anything else that the constructor raises, with a note of the place in the config.
    """
    if not isinstance(cfg, Mapping):
        if cfg is None or isinstance(cfg, (str, int, float, list, tuple, set)):
            raise InvalidTypeError(f'a {registry.name} is built from a dict with `type`, or is an object; got {cfg!r}')
        return cfg
    arguments = {**(default_args or {}), **cfg}
    with located(cfg):
        if 'type' not in arguments:
            raise UnknownNameError(f'a {registry.name} needs `type`, the dict has {", ".join(arguments) or "nothing"}')
        kind = arguments.pop('type')
        arguments.pop('_scope_', None)  # the project to which the type belongs: one registry has them all
        target: Callable[..., Any] = registry.get(kind) if isinstance(kind, str) else kind
        if not callable(target):
            raise InvalidTypeError(f'`type` is a name or a class, got {target!r}', key='type')
        name = kind if isinstance(kind, str) else _name(target)
        check_arguments(target, arguments, len(positional), name)
        made: T = _call(target, arguments, positional, name, cfg)
        for verb in registry.verbs:
            if not callable(getattr(made, verb, None)):
                raise InvalidTypeError(f'{name} is no {registry.name}: it has no method {verb!r}', key='type')
    return made


# What a wrong type or number leads to in code that trusts its arguments; lack of memory is not among it.
_WRONG_ARGUMENT = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError)


def _call(
    target: Callable[..., Any],
    arguments: Mapping[str, Any],
    positional: Sequence[object],
    name: str,
    cfg: Mapping[str, Any],
) -> Any:
    """The object; a constructor's complaint about its arguments becomes a UserError, any other error gets a note.

    Args:
        target: the class or function.
        arguments, positional: what it is called with.
        name: what the config calls it.
        cfg: the arguments that a user wrote.
    """
    try:
        return target(*positional, **arguments)
    except UserError as error:
        if not error.is_located:  # or else it is one of a part
            _blame_text(name, {key: value for key, value in cfg.items() if error.key in (None, key)}, error)
        raise
    except Exception as error:
        if not getattr(error, '__notes__', None):  # or else it is one of a part, which has passed through here
            if isinstance(error, (ValueError, TypeError)):
                _blame_text(name, cfg, error)
            if isinstance(error, ValueError):
                raise InvalidValueError(str(error)) from error
            relayed = _UNEXPECTED.search(str(error))  # the constructor takes **kwargs and hands them on
            if relayed is not None and relayed[1] in arguments:
                raise InvalidTypeError(f'{name} has no argument {relayed[1]!r}', relayed[1]) from error
            is_ours = target.__module__.partition('.')[0] in ('mmkit', 'torch')  # a user's class may have a fault
            if is_ours and isinstance(error, _WRONG_ARGUMENT):
                raise InvalidTypeError(f'{name}: {summary(error)}') from error
            _note_place(error, cfg, name)
        raise


def _blame_text(name: str, arguments: Mapping[str, Any], error: Exception) -> None:
    """Raise an error about the first argument that is a text spelling a number, if there is one."""
    for key, value in arguments.items():
        number = spelled_number(value)
        if number is not None:
            message = f'{name}: {key} is the text {value!r}, a number is meant: write {number!r}'
            raise InvalidTypeError(message, key) from error


@contextmanager
def located(cfg: Mapping[str, Any], key: str | None = None) -> Iterator[None]:
    """Errors inside get the place of `cfg`: the path in the config, the file and the line.

    Args:
        cfg: the config of what is done inside; one that knows no place, as a dict made by code, changes nothing.
        key: the key that an error is about which doesn't name one itself.
    """
    try:
        yield
    except UserError as error:
        _locate(error, cfg, error.key if key is None or error.key in cfg else key)
        raise


def _note_place(error: Exception, cfg: Mapping[str, Any], name: str) -> None:
    """Add the place of `cfg`, or the name if it knows none, to the traceback of an error."""
    place = UserError('')
    _locate(place, cfg, None)
    if sys.version_info >= (3, 11):
        error.add_note(str(place).strip() or f'[{name}]')


def _locate(error: UserError, cfg: Mapping[str, Any], key: str | None) -> None:
    """Complete the key of an error to its path in the config `cfg`, and add where it was written."""
    if not isinstance(cfg, ConfigDict) or error.is_located:
        return
    if not cfg._path and cfg._origins.get(key) is None:  # a dict made by code: the one around it may know more
        return
    error.locate(cfg._path if key is None else cfg._path_of(key), cfg._origin_of(key))


def check_arguments(
    target: Callable[..., Any], arguments: Mapping[str, Any], num_positional: int = 0, name: str | None = None
) -> None:
    """Raise an error that names the argument, before the call: one from inside the constructor is another matter.

    Args:
        target: the class or function to call.
        arguments: its keyword arguments.
        num_positional: number of arguments before them.
        name: of the target, for messages; by default its own.
    """
    parameters = _parameters(target)
    if parameters is None:
        return
    name = name or _name(target)
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    named = [key for key, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    named = named[num_positional:]
    for key in arguments:
        if key not in named and not takes_any:
            near = nearest(key, named, 1)
            hint = f'the nearest is {near[0]!r}' if near else f'it takes {", ".join(named) or "none"}'
            raise InvalidTypeError(f'{name} has no argument {key!r}; {hint}', key)
    for key, value in arguments.items():
        if isinstance(value, str) and key in named and parameters[key].annotation in _NUMBERS:
            number = spelled_number(value)
            hint = 'expected a number' if number is None else f'a number is meant: write {number!r}'
            raise InvalidTypeError(f'{name}: {key} is the text {value!r}, {hint}', key)
    missing = [key for key in named if parameters[key].default is parameters[key].empty and key not in arguments]
    if missing:
        raise InvalidTypeError(f'{name} needs the argument{"s" * (len(missing) > 1)} {", ".join(map(repr, missing))}')


@functools.cache
def _parameters(target: Callable[..., Any]) -> Mapping[str, Parameter] | None:
    """The parameters of a constructor or function; None where Python cannot tell.

    `**options: Unpack[SomeTypedDict]`, with which a variant passes on arguments of its base, counts as the keys of it.
    """
    from inspect import Parameter, signature

    try:
        parameters = dict(signature(target).parameters)
    except (ValueError, TypeError):
        return None
    for name, parameter in list(parameters.items()):
        if parameter.kind is parameter.VAR_KEYWORD and str(parameter.annotation).startswith(('Unpack[', '*')):
            del parameters[name]
            for key, hint in _unpacked(target, name).items():
                parameters[key] = Parameter(key, Parameter.KEYWORD_ONLY, default=None, annotation=hint)
    return parameters


def _unpacked(target: Callable[..., Any], name: str) -> dict[str, str]:
    """The keys of the TypedDict that annotates the keyword parameter `name`, and their annotations."""
    from typing import ForwardRef, get_args

    from typing_extensions import get_type_hints

    function = target.func if isinstance(target, functools.partial) else target
    hints = get_type_hints(function.__init__ if isinstance(function, type) else function)  # type: ignore[misc]
    keys = get_args(hints[name])[0].__annotations__
    return {key: hint.__forward_arg__ if isinstance(hint, ForwardRef) else str(hint) for key, hint in keys.items()}


def _with_defaults(target: Callable[..., Any], name: str, defaults: Mapping[str, Any]) -> Callable[..., Any]:
    variant = functools.partial(target, **defaults)
    vars(variant).update(__name__=name, __module__=target.__module__)
    return variant


def _name(target: Callable[..., Any]) -> str:
    return str(getattr(target, '__name__', repr(target)))


def _place(target: Callable[..., Any]) -> str:
    """File and line of a class or function."""
    from inspect import getsourcefile, getsourcelines

    target = target.func if isinstance(target, functools.partial) else target
    try:
        return f'{getsourcefile(target)}:{getsourcelines(target)[1]}'
    except (OSError, TypeError):
        return f'{target.__module__}.{target.__qualname__}'


BACKBONES: Registry[nn.Module] = Registry('backbone')
NECKS: Registry[nn.Module] = Registry('neck')
ROI_EXTRACTORS: Registry[RoIExtractor] = Registry('roi extractor')
SHARED_HEADS: Registry[nn.Module] = Registry('shared head')
LOSSES: Registry[nn.Module] = Registry('loss')
DETECTORS: Registry[nn.Module] = Registry('detector')
CLASSIFIERS: Registry[nn.Module] = Registry('classifier')
DATA_PREPROCESSORS: Registry[nn.Module] = Registry('data preprocessor')
BATCH_AUGMENTS: Registry[nn.Module] = Registry('batch augmentation')

# A config's heads are of several kinds: all are registered in HEADS, and built through the view of their kind.
HEADS: Registry[nn.Module] = Registry('head')
DENSE_HEADS: Registry[DenseHead[Any]] = Registry('dense head', HEADS, verbs=('loss', 'predict'))
RPN_HEADS: Registry[ProposalHead[Any]] = Registry('region proposal head', HEADS, verbs=('loss', 'predict'))
ROI_HEADS: Registry[RoIHead] = Registry('RoI head', HEADS, verbs=('loss', 'predict'))
BBOX_HEADS: Registry[BBoxHead] = Registry('box head', HEADS, verbs=('targets', 'loss', 'probabilities', 'predict'))
MASK_HEADS: Registry[MaskHead] = Registry('mask head', HEADS, verbs=('targets', 'loss', 'predict'))
SEMANTIC_HEADS: Registry[SemanticHead] = Registry('semantic head', HEADS, verbs=('loss',))
CLS_HEADS: Registry[ClassificationHead[Any]] = Registry('classification head', HEADS, verbs=('loss', 'predict'))

CONV_LAYERS: Registry[nn.Module] = Registry('conv layer')
NORM_LAYERS: Registry[nn.Module] = Registry('norm layer')
ACTIVATION_LAYERS: Registry[nn.Module] = Registry('activation layer')
PADDING_LAYERS: Registry[nn.Module] = Registry('padding layer')
UPSAMPLE_LAYERS: Registry[nn.Module] = Registry('upsample layer')
PLUGIN_LAYERS: Registry[nn.Module] = Registry('plugin layer')
LINEAR_LAYERS: Registry[nn.Module] = Registry('linear layer')
DROPOUT_LAYERS: Registry[nn.Module] = Registry('dropout layer')
INITIALIZERS: Registry[Initializer] = Registry('initializer')
ATTENTION: Registry[nn.Module] = Registry('attention')
FEEDFORWARD_NETWORK: Registry[nn.Module] = Registry('feed-forward network')
POSITIONAL_ENCODING: Registry[nn.Module] = Registry('positional encoding')
TRANSFORMER: Registry[Any] = Registry('transformer')  # each query head has one of its own kind
TRANSFORMER_LAYER: Registry[nn.Module] = Registry('transformer layer')
TRANSFORMER_LAYER_SEQUENCE: Registry[nn.Module] = Registry('transformer layer sequence')

PRIOR_GENERATORS: Registry[PriorGenerator] = Registry('prior generator')
BBOX_ASSIGNERS: Registry[Assigner] = Registry('box assigner')
BBOX_SAMPLERS: Registry[BoxSampler] = Registry('box sampler')
BBOX_CODERS: Registry[BoxCoder] = Registry('box coder')
IOU_CALCULATORS: Registry[IoUCalculator] = Registry('IoU calculator')
MATCH_COSTS: Registry[MatchCost] = Registry('match cost')

DATASETS: Registry[object] = Registry('dataset')
TRANSFORMS: Registry[Transform] = Registry('transform')
PIPELINES = TRANSFORMS  # 2.x's name
METRICS: Registry[Metric] = Registry('metric')
DATA_SAMPLERS: Registry[object] = Registry('data sampler')

VIS_BACKENDS: Registry[VisBackend] = Registry('visualization backend')

# The classes of these two are the engine's, which checks what it gets.
HOOKS: Registry[object] = Registry('hook')
RUNNERS: Registry[object] = Registry('runner')
OPTIMIZERS: Registry[Optimizer] = Registry('optimizer')
OPTIMIZER_BUILDERS: Registry[OptimizerBuilder] = Registry('optimizer builder')
