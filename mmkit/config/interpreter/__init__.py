"""A sandbox for `.py` configs: their syntax tree is evaluated, nothing of it is executed."""

from mmkit.config.interpreter.budget import Budget, Refused
from mmkit.config.interpreter.statements import Interpreter

__all__ = ['Budget', 'Interpreter', 'Refused']
