"""Training and testing: the runner and its hooks, schedules, optimizers, checkpoints, prediction."""

from mmkit.engine import checkpoint, hooks, lamb, layer_decay, optim, predict, runner, schedules, vis_backends
