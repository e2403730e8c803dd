"""Registries: from the `type` of a config to the class it names."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from mmkit.utils.imports import find_class
from mmkit.utils.names import ELSEWHERE, nearest, unscoped

if TYPE_CHECKING:
    from inspect import Parameter

# How a class of one's own comes into a registry, for messages.
_OWN_CLASS = (
    "list its module in custom_imports=dict(imports=['package.module']) of a trusted config, or import it yourself"
)
Target = TypeVar('Target', bound=Callable[..., Any])
E = TypeVar('E', bound=Exception)


class Registry:
    """Classes and functions by the name a config uses for them.

    Args:
        name: what it holds, in the singular, for messages: 'backbone'.
    """

    everything: ClassVar[list[Registry]] = []  # so that an unknown name can be looked for elsewhere

    def __init__(self, name: str) -> None:
        self.name = name
        self._modules: dict[str, Callable[..., Any]] = {}
        Registry.everything.append(self)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and unscoped(name) in self._modules

    def __len__(self) -> int:
        return len(self._modules)

    def __repr__(self) -> str:
        return f'Registry({self.name!r}: {", ".join(sorted(self._modules)) or "empty"})'

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        return sorted(self._modules)

    def get(self, name: str) -> Callable[..., Any]:
        """What is registered as `name`, or the class at a dotted path (see mmkit.utils.imports.find_class).

        'mmdet.ResNet' is 'ResNet', and so are the names of the other `SCOPES`.

        Raises:
            KeyError: nothing is; the message has the nearest names.
        """
        name = unscoped(name)
        if name in self._modules:
            return self._modules[name]
        if '.' in name:
            return find_class(name)
        raise KeyError(self._unknown(name))

    def _unknown(self, name: str) -> str:
        if name in ELSEWHERE:
            return f'{name!r} is a part of mmdetection that mmkit does not have. For one of your own, {_OWN_CLASS}'
        message = f'{name!r} is not a registered {self.name}'
        near = nearest(name, self._modules)
        if near:
            message += f'; the nearest: {", ".join(near)}'
        elif not self._modules:
            message += ' (none is registered: has the package that registers them been imported?)'
        others = [other.name for other in Registry.everything if name in other and other is not self]
        if others:
            message += f'; there is a {" and a ".join(others)} of this name'
        return f'{message}. For a class of your own, {_OWN_CLASS}'

    def register_module(
        self, name: str | Sequence[str] | None = None, force: bool = False, module: Target | None = None
    ) -> Any:
        """Register a class or function: `@REG.register_module()`, or `REG.register_module(module=Class)`.

        Args:
            name: its name in configs, or several; by default its own.
            force: replace what has the name.
            module: the class or function, where this isn't used as a decorator.

        Raises:
            KeyError: the name is taken.
        """
        if not (name is None or isinstance(name, (str, list, tuple))):
            raise TypeError(f'name is a string or a list of them, got {name!r}; a decorator needs its parentheses')

        def register(target: Target) -> Target:
            for each in [target.__name__] if name is None else [name] if isinstance(name, str) else name:
                if each in self._modules and not force:
                    raise KeyError(
                        f'{each!r} is registered twice as a {self.name}: at {_place(self._modules[each])} and at '
                        f'{_place(target)}; force=True replaces the first'
                    )
                self._modules[each] = target
            return target

        return register if module is None else register(module)

    def build(self, cfg: Any, **default_args: Any) -> Any:
        """build_from_cfg with this registry."""
        return build_from_cfg(cfg, self, default_args)


def build_from_cfg(cfg: Any, registry: Registry, default_args: Mapping[str, Any] | None = None) -> Any:
    """Build what a config describes.

    Args:
        cfg: a dict with `type` (a registered name, a class, or a dotted path such as 'torch.nn.GELU') and the
            arguments of that type, left as it is; or an object, which is returned as it is.
        registry: where to look `type` up.
        default_args: arguments for which `cfg` has no value.

    Raises:
        KeyError: `type` is missing or unknown.
        TypeError: an argument is missing or unknown, or `cfg` is no config.
        Exception: whatever the constructor raises, its message extended by the config key, file and line.
    """
    if not isinstance(cfg, Mapping):
        if cfg is None or isinstance(cfg, (str, int, float, list, tuple, set)):
            raise TypeError(f'a {registry.name} is built from a dict with `type`, or is an object; got {cfg!r}')
        return cfg
    arguments = {**(default_args or {}), **cfg}
    try:
        if 'type' not in arguments:
            raise KeyError(f'a {registry.name} needs `type`, the dict has {", ".join(arguments) or "nothing"}')
        target = arguments.pop('type')
        if isinstance(target, str):
            target = registry.get(target)
        elif not callable(target):
            raise TypeError(f'`type` is a name or a class, got {target!r}')
        _check_arguments(target, arguments, cfg)
        return target(**arguments)
    except Exception as error:
        _add_location(error, cfg, 'type')
        raise


@contextmanager
def located(cfg: Mapping[str, Any], key: str = 'type') -> Iterator[None]:
    """Errors inside get the place of `cfg` into their message, as those of `build_from_cfg` do.

    Args:
        cfg: what is read inside; one that knows no place, as a dict made by code, changes nothing.
        key: the one to name if the error is not about a certain argument; the first one if there is none such.
    """
    try:
        yield
    except Exception as error:
        argument = str(error.__dict__.get('mmkit_argument'))
        _add_location(error, cfg, argument if argument in cfg else key)
        raise


def about(error: E, argument: str) -> E:
    """The error, which `located` will say to be about this argument."""
    error.__dict__['mmkit_argument'] = argument
    return error


def _check_arguments(target: Callable[..., Any], arguments: Mapping[str, Any], cfg: Mapping[str, Any]) -> None:
    """Raise a TypeError that names the argument, before the call: one from inside the constructor is another matter."""
    parameters = _parameters(target)
    if parameters is None:
        return
    name = getattr(target, '__name__', repr(target))
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    named = [key for key, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    for key in arguments:
        if key not in named and not takes_any:
            near = nearest(key, named, 1)
            hint = f'the nearest is {near[0]!r}' if near else f'it takes {", ".join(named) or "none"}'
            error = about(TypeError(f'{name} has no argument {key!r}; {hint}'), key)
            _add_location(error, cfg, key)
            raise error
    missing = [key for key in named if parameters[key].default is parameters[key].empty and key not in arguments]
    if missing:
        raise TypeError(f'{name} needs the argument{"s" * (len(missing) > 1)} {", ".join(map(repr, missing))}')


@functools.cache
def _parameters(target: Callable[..., Any]) -> Mapping[str, Parameter] | None:
    """The parameters of a constructor or function; None where Python cannot tell."""
    from inspect import signature

    try:
        return signature(target).parameters
    except (ValueError, TypeError):
        return None


def _add_location(error: Exception, cfg: Mapping[str, Any], key: str) -> None:
    """Extend the message by where `key` stands, once: the innermost config that failed is the one to look at."""
    locate = getattr(type(cfg), '_locate', None)  # of a ConfigDict, which knows its path, file and line
    if locate is None or 'mmkit_location' in error.__dict__:
        return
    named = key if key in cfg else 'type' if 'type' in cfg else next(iter(cfg), 'type')
    where = locate(cfg, named)
    if where == 'type' or (where == named != key):  # a dict made by code: the one around it may know more
        return
    error.__dict__['mmkit_location'] = where
    if len(error.args) == 1 and isinstance(error.args[0], str):
        error.args = (f'{error.args[0]} [{where}]',)
    elif isinstance(error, OSError) and error.strerror:
        error.strerror = f'{error.strerror} [{where}]'
    elif hasattr(error, 'add_note'):
        error.add_note(f'[{where}]')


def _place(target: Callable[..., Any]) -> str:
    """File and line of a class or function."""
    from inspect import getsourcefile, getsourcelines

    try:
        return f'{getsourcefile(target)}:{getsourcelines(target)[1]}'
    except (OSError, TypeError):
        return f'{target.__module__}.{target.__qualname__}'


BACKBONES = Registry('backbone')
NECKS = Registry('neck')
HEADS = Registry('head')
ROI_EXTRACTORS = Registry('roi extractor')
SHARED_HEADS = Registry('shared head')
LOSSES = Registry('loss')
DETECTORS = Registry('detector')
CLASSIFIERS = Registry('classifier')

CONV_LAYERS = Registry('conv layer')
NORM_LAYERS = Registry('norm layer')
ACTIVATION_LAYERS = Registry('activation layer')
PADDING_LAYERS = Registry('padding layer')
UPSAMPLE_LAYERS = Registry('upsample layer')
PLUGIN_LAYERS = Registry('plugin layer')
LINEAR_LAYERS = Registry('linear layer')
DROPOUT_LAYERS = Registry('dropout layer')
INITIALIZERS = Registry('initializer')
ATTENTION = Registry('attention')
FEEDFORWARD_NETWORK = Registry('feed-forward network')
POSITIONAL_ENCODING = Registry('positional encoding')
TRANSFORMER = Registry('transformer')
TRANSFORMER_LAYER = Registry('transformer layer')
TRANSFORMER_LAYER_SEQUENCE = Registry('transformer layer sequence')

PRIOR_GENERATORS = Registry('prior generator')
BBOX_ASSIGNERS = Registry('box assigner')
BBOX_SAMPLERS = Registry('box sampler')
BBOX_CODERS = Registry('box coder')
IOU_CALCULATORS = Registry('IoU calculator')
MATCH_COSTS = Registry('match cost')

DATASETS = Registry('dataset')
PIPELINES = Registry('pipeline step')

HOOKS = Registry('hook')
RUNNERS = Registry('runner')
OPTIMIZERS = Registry('optimizer')
OPTIMIZER_BUILDERS = Registry('optimizer builder')
