"""Loading of weights into a module, with a report on every name."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.errors import UserError

Shape = tuple[int, ...]
COMPILED = '_orig_mod'
"""Name under which `torch.compile` keeps the module that it wraps."""


class WeightsError(UserError, RuntimeError):
    """Weights that do not fit a module."""


@dataclass
class LoadReport:
    """The outcome for each name; `len(matched) + len(missing) + len(mismatched)` is the number of the module's tensors.

    Attributes:
        matched: loaded.
        missing: in the module, but not in the file.
        unexpected: in the file, but not in the module.
        mismatched: name, shape in the module, shape in the file; not loaded.
        hint: what may be done about what is missing.
    """

    matched: list[str]
    missing: list[str]
    unexpected: list[str]
    mismatched: list[tuple[str, Shape, Shape]]
    hint: str = ''

    @property
    def complete(self) -> bool:
        """True if every name of the module and of the file matched."""
        return not (self.missing or self.unexpected or self.mismatched)

    def under(self, prefix: str) -> tuple[int, int]:
        """The number of the module's names starting with `prefix` that matched, and of all of them."""
        wanted = [*self.missing, *(name for name, _, _ in self.mismatched)]
        matched = sum(name.startswith(prefix) for name in self.matched)
        return matched, matched + sum(name.startswith(prefix) for name in wanted)

    def __str__(self) -> str:
        shapes = [f'{name} {list(own)}, in the file {list(theirs)}' for name, own, theirs in self.mismatched]
        lines = [f'{len(self.matched)} tensors loaded']
        lines += _listed('of another shape', shapes)
        lines += _listed('missing in the file', self.missing)
        lines += _listed('in the file, but not in the model', self.unexpected)
        lines += [self.hint] if self.hint else []
        return '\n'.join(lines)


def load_state_dict(module: nn.Module, state_dict: Mapping[str, Any], strict: bool = False) -> LoadReport:
    """Load the tensors that match by name and shape; parts of the module, and of the one saved, may be compiled.

    Args:
        module: receives the tensors; its hooks see the names first, and may rename older ones.
        state_dict: values that are no tensors count as unexpected.
        strict: raise if the report is not complete.

    Raises:
        WeightsError: with `strict`, if the report is not complete.
    """
    # Counters of batches exist since torch 0.4.1: older files lack them, and nothing depends on them.
    own = {name: value for name, value in module.state_dict().items() if not name.endswith('num_batches_tracked')}
    fitting: OrderedDict[str, Tensor] = OrderedDict()
    mismatched: list[tuple[str, Shape, Shape]] = []
    unexpected = []
    for name, value in _renamed(state_dict, {plain_name(name): name for name in module.state_dict()}).items():
        if not isinstance(value, Tensor):
            unexpected.append(name)
        elif name in own and own[name].shape != value.shape:
            mismatched.append((name, tuple(own[name].shape), tuple(value.shape)))
        else:
            fitting[name] = value
    modules = {plain_name(name): name for name, _ in module.named_modules()}
    with_metadata(fitting, _renamed(metadata_of(state_dict), modules))
    outcome = module.load_state_dict(fitting, strict=False)

    other_shape = {name for name, _, _ in mismatched}
    missing = [name for name in outcome.missing_keys if name in own and name not in other_shape]
    matched = [name for name in own if name not in other_shape.union(outcome.missing_keys)]
    report = LoadReport(matched, missing, unexpected + list(outcome.unexpected_keys), mismatched)
    if strict and not report.complete:
        raise WeightsError(f'the weights do not fit {type(module).__name__}: {report}')
    return report


def cpu_state_dict(module: nn.Module) -> OrderedDict[str, Tensor]:
    """The tensors of a module on the CPU, each with a storage of its own size, ready to be saved.

    Their names don't tell which parts of the module are compiled.
    """
    state_dict = module.state_dict()
    moved = OrderedDict((plain_name(name), _compact(value)) for name, value in state_dict.items())
    return with_metadata(moved, _renamed(metadata_of(state_dict), {}))


def metadata_of(state_dict: Mapping[str, Any]) -> Mapping[str, Any]:
    """Torch's notes on the modules of a state dict, such as versions; empty for a dict that it did not make."""
    metadata: Mapping[str, Any] = getattr(state_dict, '_metadata', {})
    return metadata


def with_metadata(state_dict: OrderedDict[str, Tensor], metadata: Mapping[str, Any]) -> OrderedDict[str, Tensor]:
    """The state dict with what torch notes about its modules."""
    state_dict._metadata = metadata  # type: ignore[attr-defined]
    return state_dict


def plain_name(name: str) -> str:
    """The name of a tensor or a module as it is without `torch.compile`."""
    return '.'.join(part for part in name.split('.') if part != COMPILED)


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> OrderedDict[str, Any]:
    """`values` under plain names, or under what `names` has for these."""
    plain = ((plain_name(name), value) for name, value in values.items())
    return OrderedDict((names.get(name, name), value) for name, value in plain)


def _compact(value: Tensor) -> Tensor:
    if not isinstance(value, Tensor):  # extra state of a module
        return value
    value = value.detach().cpu()
    part_of_more = value.untyped_storage().nbytes() > value.numel() * value.element_size()
    return value.clone(memory_format=torch.contiguous_format) if part_of_more else value


def _listed(title: str, names: Sequence[str], at_most: int = 20) -> list[str]:
    if not names:
        return []
    rest = [f'  ... and {len(names) - at_most} more'] if len(names) > at_most else []
    return [f'{len(names)} {title}:', *(f'  {name}' for name in names[:at_most]), *rest]
