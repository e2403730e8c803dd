"""How strong an operation of AutoAugment's policies is, and how often it happens (arXiv:1906.11172)."""

from __future__ import annotations

MAX_LEVEL = 10


def check_level(level: float, name: str) -> None:
    if not 0 <= level <= MAX_LEVEL:
        raise ValueError(f'{name}.level is a strength between 0 and {MAX_LEVEL}, got {level}')


def check_probability(name: str, **values: float) -> None:
    for key, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f'{name}.{key} is a probability, got {value}')
