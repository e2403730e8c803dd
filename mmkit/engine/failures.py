"""Which part of a config a model that failed was made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from traceback import walk_tb
from types import TracebackType
from typing import Any

import torch
from torch import nn

from mmkit.registry import located


@contextmanager
def located_in_model(model: nn.Module, cfg: Any) -> Iterator[None]:
    """Errors from inside of a model get the place of the part that was at work into their message, as when building.

    Args:
        model: a whole detector or classifier.
        cfg: that it was built from; something else than a config that knows its lines changes nothing. Running out of
            memory is nobody's mistake in particular and stays as it is.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        path = _module_at_work(model, error.__traceback__)
        if path is None or not isinstance(cfg, Mapping):
            raise
        with located(_config_of(path, cfg)):
            raise


def _module_at_work(model: nn.Module, traceback: TracebackType | None) -> str | None:
    """The name of the innermost module among the calls that led to an error; None if there is none."""
    names = {id(module): name for name, module in model.named_modules()}
    callers = [id(frame.f_locals.get('self')) for frame, _ in walk_tb(traceback)]
    return next((names[caller] for caller in reversed(callers) if caller in names), None)


def _config_of(path: str, cfg: Mapping[str, Any]) -> Mapping[str, Any]:
    """The innermost config on the way to the module `path`: layers of a neck have none of their own."""
    value: Any = cfg
    for part in path.split('.'):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, (list, tuple)) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            break
        if isinstance(value, Mapping):
            cfg = value
    return cfg
