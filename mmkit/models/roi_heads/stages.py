"""The parts of a cascade, one for each stage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar, cast

from torch import nn

from mmkit.errors import InvalidValueError
from mmkit.registry import Cfg, Registry

Part = TypeVar('Part')
Entry = TypeVar('Entry')


class Stages(nn.ModuleList, Generic[Part]):
    """An `nn.ModuleList` typed by the contract `Part` of its modules."""

    def __init__(self, parts: Iterable[Part]) -> None:
        super().__init__(cast(Iterable[nn.Module], parts))

    def __getitem__(self, stage: int) -> Part:  # type: ignore[override]  # one part, no slices
        return cast(Part, super().__getitem__(stage))

    def __iter__(self) -> Iterator[Part]:  # type: ignore[override]  # a contract doesn't say that it is of modules
        return cast(Iterator[Part], super().__iter__())


def build_stages(cfg: Cfg | Sequence[Cfg], registry: Registry[Part], num_stages: int, name: str) -> Stages[Part]:
    """The parts of all stages; the argument `name` has one config for all of them, or one for each."""
    return Stages(registry.build(each) for each in per_stage(cfg, num_stages, name))


def per_stage(value: Entry | Sequence[Entry], num_stages: int, name: str) -> list[Entry]:
    """One entry for each stage: a single one serves them all.

    Raises:
        InvalidValueError: for a list of another length.
    """
    if not isinstance(value, (list, tuple)):
        return [cast(Entry, value)] * num_stages
    if len(value) != num_stages:
        raise InvalidValueError(f'{name} has {len(value)} entries, but num_stages is {num_stages}', key=name)
    return list(value)
