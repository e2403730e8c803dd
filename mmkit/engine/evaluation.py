"""`evaluation` of a config: when to evaluate, and the arguments of `dataset.evaluate`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from mmkit.config import ConfigError
from mmkit.errors import InvalidTypeError
from mmkit.utils.names import nearest


def check_evaluation(dataset: Any, arguments: Mapping[str, Any], others: Iterable[str] = ()) -> list[str] | None:
    """Better now than after hours of prediction: would `dataset.evaluate` take these arguments?

    A dataset says what its `evaluate` refuses besides unknown names by a method `check_evaluation` in the same class,
    which is called with the arguments and may return the names of the numbers to come; a subclass with another
    `evaluate` is not bound by it.

    Args:
        dataset: one with `evaluate`; of a ConcatDataset all are asked.
        arguments: of `evaluate`, besides the outputs and the logger.
        others: names that are read elsewhere and may have been meant by a wrong one.

    Returns:
        The names of the numbers that `dataset.evaluate` will return, if the dataset knows them.

    Raises:
        TypeError: for an unknown argument; ValueError: for a metric or an option that the dataset hasn't.
    """
    if not hasattr(dataset, 'evaluate'):
        raise TypeError(f'a {type(dataset).__name__} cannot be evaluated: use the dataset in it')
    for part in getattr(dataset, 'datasets', []):
        check_evaluation(part, arguments, others)
    parameters = inspect.signature(dataset.evaluate).parameters
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    for name in arguments:
        if name not in parameters and not takes_any:
            near = nearest(name, [*parameters, *others], 1)
            hint = f', did you mean {near[0]!r}?' if near else f': it takes {", ".join(list(parameters)[1:])}'
            raise InvalidTypeError(f'{type(dataset).__name__}.evaluate has no argument {name!r}{hint}', name)
    owner = next(each for each in type(dataset).__mro__ if 'evaluate' in vars(each))
    names: list[str] | None = dataset.check_evaluation(**arguments) if 'check_evaluation' in vars(owner) else None
    return names


def check_masks(model: Any, metric: Any) -> None:
    """Raises a ConfigError if masks are to be evaluated and the model has none."""
    if metric is not None and 'segm' in ([metric] if isinstance(metric, str) else metric):
        if not getattr(model, 'with_mask', True):
            raise ConfigError("metric 'segm' evaluates masks, and this detector makes boxes only")
