"""Modules that initialise their own weights."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from torch import nn

from mmkit.layers.init import InitCfg, initialize, is_pretrained

logger = logging.getLogger('mmkit')


@runtime_checkable
class SelfInitialising(Protocol):
    """A module with an initialisation of its own, which blocks around it leave alone."""

    def init_weights(self) -> None: ...


class BaseModule(nn.Module):
    """A module with an `init_cfg` that says how to initialise it, see `mmkit.layers.init.initialize`.

    Args:
        init_cfg: an initializer, a list of them, or None to leave the weights as built.
    """

    def __init__(self, init_cfg: InitCfg = None) -> None:
        super().__init__()
        self._is_init = False
        self.init_cfg = copy.deepcopy(init_cfg)

    @property
    def is_init(self) -> bool:
        return self._is_init

    def init_weights(self) -> None:
        """Apply `init_cfg`, then, unless that loaded a checkpoint, `init_weights` of the children; only once."""
        if self._is_init:
            logger.warning('init_weights of %s was called more than once', type(self).__name__)
            return
        if self.init_cfg:
            initialize(self, self.init_cfg)
        if not is_pretrained(self.init_cfg):
            init_children(self)
        self._is_init = True


def init_children(module: nn.Module) -> None:
    """Call `init_weights` of the nearest descendants that have it."""
    for child in module.children():
        if isinstance(child, SelfInitialising):
            child.init_weights()
        else:
            init_children(child)


class Sequential(BaseModule, nn.Sequential):
    """nn.Sequential with an `init_cfg`."""

    def __init__(self, *modules: nn.Module, init_cfg: InitCfg = None) -> None:
        BaseModule.__init__(self, init_cfg)
        for index, module in enumerate(modules):
            self.add_module(str(index), module)


class ModuleList(BaseModule, nn.ModuleList):
    """nn.ModuleList with an `init_cfg`."""

    def __init__(self, modules: Iterable[nn.Module | None] | None = None, init_cfg: InitCfg = None) -> None:
        BaseModule.__init__(self, init_cfg)
        if modules is not None:
            self.extend(modules)  # type: ignore[arg-type]  # None has an index too: a branch without a layer
