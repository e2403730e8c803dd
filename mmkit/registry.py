"""Registries: from the `type` of a config to the class it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class Registry:
    """Classes and functions by the name a config uses for them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._modules: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        if name not in self._modules:
            raise KeyError(f'{name!r} is not in registry {self.name!r}')
        return self._modules[name]

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def build(self, cfg: Any, **default_args: Any) -> Any:
        return build_from_cfg(cfg, self, default_args)

    def register_module(self, name: str | None = None, force: bool = False, module: Any = None) -> Any:
        def register(target: Any) -> Any:
            self._modules[name or target.__name__] = target
            return target

        return register if module is None else register(module)


def build_from_cfg(cfg: Any, registry: Registry, default_args: Mapping[str, Any] | None = None) -> Any:
    if not isinstance(cfg, Mapping):
        return cfg
    arguments = {**(default_args or {}), **cfg}
    target: str | Callable[..., Any] = arguments.pop('type')
    return (registry.get(target) if isinstance(target, str) else target)(**arguments)


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
