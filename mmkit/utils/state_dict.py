"""Weights into a module, with an account of what fitted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]
COMPILED = '_orig_mod'
"""Name under which `torch.compile` keeps the module that it wraps."""


@dataclass
class LoadReport:
    """What became of each name; `len(matched) + len(missing) + len(mismatched)` is what the module wants.

    Attributes:
        matched: loaded.
        missing: the module has it and the file hasn't.
        unexpected: the file has it and the module hasn't.
        mismatched: name, shape in the module, shape in the file; not loaded.
    """

    matched: list[str]
    missing: list[str]
    unexpected: list[str]
    mismatched: list[tuple[str, Shape, Shape]]

    @property
    def complete(self) -> bool:
        return not (self.missing or self.unexpected or self.mismatched)

    def under(self, prefix: str) -> tuple[int, int]:
        """How many of the module's names that start with `prefix` matched, and how many there are."""
        wanted = [*self.missing, *(name for name, _, _ in self.mismatched)]
        matched = sum(name.startswith(prefix) for name in self.matched)
        return matched, matched + sum(name.startswith(prefix) for name in wanted)

    def __str__(self) -> str:
        shapes = [f'{name} {list(own)}, in the file {list(theirs)}' for name, own, theirs in self.mismatched]
        lines = [f'{len(self.matched)} tensors loaded']
        lines += _listed('of another shape', shapes)
        lines += _listed('missing in the file', self.missing)
        lines += _listed('in the file, but not in the model', self.unexpected)
        return '\n'.join(lines)


def load_state_dict(module: nn.Module, state_dict: Mapping[str, Any], strict: bool = False) -> LoadReport:
    """Load what fits by name and shape, whichever parts of the module or of the one that was saved are compiled.

    Args:
        module: its hooks see the names first, so old names that it knows still fit.
        state_dict: what isn't a tensor in it counts as unexpected.
        strict: raise if not everything fits.

    Raises:
        RuntimeError: with `strict`, the report.
    """
    # Counters of batches came with torch 0.4.1: older files lack them and nothing depends on them.
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
    if hasattr(state_dict, '_metadata'):
        modules = {plain_name(name): name for name, _ in module.named_modules()}
        fitting._metadata = _renamed(state_dict._metadata, modules)  # type: ignore[attr-defined]
    outcome = module.load_state_dict(fitting, strict=False)

    other_shape = {name for name, _, _ in mismatched}
    missing = [name for name in outcome.missing_keys if name in own and name not in other_shape]
    matched = [name for name in own if name not in other_shape.union(outcome.missing_keys)]
    report = LoadReport(matched, missing, unexpected + list(outcome.unexpected_keys), mismatched)
    if strict and not report.complete:
        raise RuntimeError(f'the weights do not fit {type(module).__name__}: {report}')
    return report


def cpu_state_dict(module: nn.Module) -> OrderedDict[str, Tensor]:
    """The tensors of a module on the CPU, each with a storage of its own size, ready to be saved.

    Their names don't tell which parts of the module are compiled.
    """
    state_dict = module.state_dict()
    moved = OrderedDict((plain_name(name), _compact(value)) for name, value in state_dict.items())
    moved._metadata = _renamed(getattr(state_dict, '_metadata', {}), {})  # type: ignore[attr-defined]
    return moved


def plain_name(name: str) -> str:
    """The name of a tensor or a module as it is without `torch.compile`."""
    return '.'.join(part for part in name.split('.') if part != COMPILED)


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> OrderedDict[str, Any]:
    """`values` under plain names, or under what `names` has for these."""
    plain = ((plain_name(name), value) for name, value in values.items())
    return OrderedDict((names.get(name, name), value) for name, value in plain)


def _compact(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    value = value.detach().cpu()
    part_of_more = value.untyped_storage().nbytes() > value.numel() * value.element_size()
    return value.clone(memory_format=torch.contiguous_format) if part_of_more else value


def _listed(title: str, names: Sequence[str], at_most: int = 20) -> list[str]:
    if not names:
        return []
    rest = [f'  ... and {len(names) - at_most} more'] if len(names) > at_most else []
    return [f'{len(names)} {title}:', *(f'  {name}' for name in names[:at_most]), *rest]
