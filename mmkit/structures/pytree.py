"""`Batch` and `Instances` as trees of tensors, as torch.export, torch.compile and FSDP see arguments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree  # torch.export.register_dataclass would take every field for a tensor

from mmkit.structures.batch import Batch, ImageMeta
from mmkit.structures.instances import Instances
from mmkit.structures.semi import SemiBatch


class Constants:
    """Fields without tensors, by name: they are equal if a model computes the same with them.

    File names differ from batch to batch; an exported program must not refuse another image because of them.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constants) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(repr(self._key()))

    def _key(self) -> dict[str, Any]:
        return {name: _essence(value) for name, value in self.values.items()}


Context = tuple[tuple[str, ...], Constants]  # names of the children, and the other fields


def _essence(value: object) -> Any:
    if isinstance(value, list):
        return [_essence(item) for item in value]
    if isinstance(value, ImageMeta):
        shapes = value.ori_shape, value.img_shape, value.pad_shape, value.norm_shape, value.border
        return *shapes, tuple(value.scale_factor.tolist()), value.flip_direction, value.img_norm_cfg is None
    return type(value)


def register_node(cls: type[Batch] | type[Instances]) -> None:
    """Make a dataclass a node of trees: its tensors and instances are children, also those in lists.

    A subclass with more fields needs a call of its own.
    """
    names = [field.name for field in fields(cls)]

    def flatten(node: Batch | Instances) -> tuple[list[Any], Context]:
        values = {name: getattr(node, name) for name in names}
        children = {name: value for name, value in values.items() if _has_tensors(value)}
        return list(children.values()), (
            tuple(children),
            Constants({k: v for k, v in values.items() if k not in children}),
        )

    def flatten_with_keys(node: Batch | Instances) -> tuple[list[tuple[pytree.KeyEntry, Any]], Context]:
        children, context = flatten(node)
        return [(pytree.GetAttrKey(name), child) for name, child in zip(context[0], children)], context

    def unflatten(children: Iterable[Any], context: Context) -> Any:
        node = object.__new__(cls)  # unchecked: torch puts other things than tensors there, too
        vars(node).update(zip(context[0], children), **context[1].values)
        return node

    pytree.register_pytree_node(cls, flatten, unflatten, flatten_with_keys_fn=flatten_with_keys)


def _has_tensors(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_has_tensors(item) for item in value)
    return isinstance(value, Tensor | Instances | Batch)


register_node(Instances)
register_node(Batch)
register_node(SemiBatch)
