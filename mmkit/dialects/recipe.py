"""A whole run in typed, neutral words, whichever dialect its config is written in.

The model, datasets, the optimizer and hooks stay configs of their classes: a `ConfigDict` knows the file and the line
of each of its keys. `Recipe.sources` tells them of other fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mmkit.config import ConfigDict, Origin
from mmkit.schedules import Schedule

DatasetConfig = Mapping[str, Any] | Sequence[Mapping[str, Any]]
Mode = Literal['train', 'val']


@dataclass(frozen=True)
class LoaderRecipe:
    """Data loader of one split.

    Attributes:
        dataset: config of the dataset, or of several that are concatenated; None if the config has none.
        batch_size: images in a batch of one process.
        num_workers: processes that load samples; 0 loads them in the process itself.
        persistent_workers: keep the workers from one epoch to the next.
        shuffle: None shuffles in training only.
        drop_last: leave out a last batch that is smaller.
        pin_memory: None pins where there is CUDA.
        prefetch_factor: batches that each worker loads ahead; None for torch's default.
        sampler: class in DATA_SAMPLERS and its arguments; None is the order of 2.x, with wide and high images in
            batches of their own where a loader shuffles.
        batch_sampler: class in DATA_SAMPLERS that groups what `sampler` gives into batches; None takes it as it comes.
    """

    dataset: DatasetConfig | None
    batch_size: int = 2
    num_workers: int = 2
    persistent_workers: bool = False
    shuffle: bool | None = None
    drop_last: bool = False
    pin_memory: bool | None = None
    prefetch_factor: int | None = None
    sampler: ConfigDict | None = None
    batch_sampler: ConfigDict | None = None


@dataclass(frozen=True)
class LossScale:
    """Scale of the losses in half precision: `init_scale` throughout, or adapted as `torch.amp.GradScaler` does it."""

    init_scale: float = 2.0**16
    dynamic: bool = True
    growth_factor: float = 2.0
    backoff_factor: float = 0.5
    growth_interval: int = 2000


@dataclass(frozen=True)
class StepSettings:
    """Clipping, accumulation and precision of the training step.

    Attributes:
        grad_clip: arguments of `torch.nn.utils.clip_grad_norm_`, such as max_norm and norm_type, or None.
        cumulative_iters: iterations whose gradients are averaged before a step.
        fp16: mixed precision with this loss scale; None is float32.
        amp_dtype: of mixed precision; 'bfloat16' needs no loss scale and ignores its numbers.
        detect_anomalous_params: log the parameters that get no gradient in the first iteration.
    """

    grad_clip: Mapping[str, Any] | None = None
    cumulative_iters: int = 1
    fp16: LossScale | None = None
    amp_dtype: Literal['float16', 'bfloat16'] = 'float16'
    detect_anomalous_params: bool = False


@dataclass(frozen=True)
class OptimizerRecipe:
    """The optimizer and its rules for single parameters.

    Attributes:
        config: `type`, a class of torch.optim or of one's own, and its arguments.
        constructor: class in OPTIMIZER_BUILDERS that groups the parameters.
        paramwise: rules of the constructor for learning rate and weight decay of single parameters.
        base_batch_size: images in all for which the learning rate was chosen; None if the config doesn't say.
        scale_lr: scale the learning rate to the images there are.
    """

    config: ConfigDict
    constructor: str = 'DefaultOptimizerConstructor'
    paramwise: ConfigDict | None = None
    base_batch_size: int | None = None
    scale_lr: bool = False


@dataclass(frozen=True)
class Phase:
    """Part of a training that is repeated in turns with others: passes over one dataset.

    Attributes:
        mode: 'train', or 'val' for losses from which nothing is learnt.
        times: epochs or iterations, whichever the training counts.
        dataset: None if the config has none, for callers who bring one.
    """

    mode: Mode
    times: int
    dataset: DatasetConfig | None


@dataclass(frozen=True)
class EvaluationRecipe:
    """Evaluation on the validation data.

    Attributes:
        schedule: arguments of `EvalHook`: when to evaluate, and which checkpoint is the best.
        arguments: of `dataset.evaluate`: metric and its options.
        metrics: classes in METRICS and their arguments; they stand in for `arguments`, which are empty then.
    """

    schedule: ConfigDict
    arguments: ConfigDict = field(default_factory=ConfigDict)
    metrics: tuple[ConfigDict, ...] = ()


@dataclass(frozen=True)
class HookRecipe:
    """A hook: `type` and arguments, and its priority if that is not the hook's own."""

    config: ConfigDict
    priority: int | str | None = None


@dataclass(frozen=True)
class TrainingRecipe:
    """A training: its length, its step and everything that goes on beside it.

    Attributes:
        loop: class in RUNNERS and its arguments, among them the length.
        workflow: phases that take turns.
        lr, momentum: schedules of the optimizer's values; None leaves them constant.
        checkpoint: arguments of `CheckpointHook`; None saves nothing.
        loggers, hooks: in the order of the config; each dialect logs in its own way.
        timer: measure the time of iterations, for the log.
        load_from: weights to start from.
        resume_from: checkpoint of the training to resume.
        auto_resume: resume from the newest intact checkpoint in the work directory, if there is one.
        find_unused_parameters, broadcast_buffers: of `DistributedDataParallel`.
    """

    loop: ConfigDict
    workflow: tuple[Phase, ...]
    optimizer: OptimizerRecipe
    step: StepSettings = StepSettings()
    lr: Schedule | None = None
    momentum: Schedule | None = None
    checkpoint: ConfigDict | None = None
    loggers: tuple[ConfigDict, ...] = field(default=(), compare=False)
    hooks: tuple[HookRecipe, ...] = ()
    timer: bool = True
    load_from: str | None = None
    resume_from: str | None = None
    auto_resume: bool = False
    find_unused_parameters: bool = False
    broadcast_buffers: bool = False

    @property
    def turns(self) -> list[tuple[Mode, int]]:
        """(mode, times) of each phase, as a runner takes its workflow."""
        return [(phase.mode, phase.times) for phase in self.workflow]


@dataclass(frozen=True)
class Environment:
    """Processes, random numbers and the places of files.

    Attributes:
        seed: None draws one.
        deterministic: choose cuDNN's algorithms that repeat their numbers.
        diff_rank_seed: each process has a seed of its own, counted on from `seed`.
        cudnn_benchmark: let cuDNN try for the fastest algorithms.
        opencv_num_threads: threads of OpenCV in this process; None leaves them.
        mp_start_method: way in which workers start: 'fork', 'spawn' or 'forkserver'; None leaves it.
        resource_limit: files that a process may have open at a time; None leaves it.
        backend: of torch.distributed; None chooses by the device.
        launcher: program that starts the processes: 'none', 'pytorch', 'slurm' or 'mpi'.
        device: None is a GPU if there is one.
        log_level: of the log, such as 'INFO'.
    """

    work_dir: str = 'work_dirs'
    seed: int | None = None
    deterministic: bool = False
    diff_rank_seed: bool = False
    cudnn_benchmark: bool = False
    opencv_num_threads: int | None = None
    mp_start_method: str | None = None
    resource_limit: int | None = None
    backend: str | None = None
    launcher: str = 'none'
    device: str | None = None
    log_level: str = 'INFO'


@dataclass(frozen=True)
class Source:
    """Place of a setting: its dotted key in the config, and the file and line or the option that set it."""

    key: str
    origin: Origin | None = None


@dataclass(frozen=True)
class TTARecipe:
    """Test-time augmentation.

    Attributes:
        pipeline: of the test dataset, in place of its own; it ends in a transform that makes the views of an image.
        nms: arguments of the NMS over the detections of all views; None is that of the model.
        max_per_img: detections that are kept of an image; None is that of the model.
    """

    pipeline: Sequence[Mapping[str, Any]]
    nms: ConfigDict | None = None
    max_per_img: int | None = None


@dataclass(frozen=True)
class Recipe:
    """A whole run: the model, its data, the training and its surroundings.

    Attributes:
        model: config of the detector or classifier, `train_cfg` and `test_cfg` in it; None if the config has none.
        train, val, test: data loaders.
        training: None if the config says nothing about one, or it was not asked for.
        evaluation: during a training; None if the config has none.
        test_metrics: metrics of a test that is not told any.
        test_fp16: predict in mixed precision in a test.
        test_drawing: arguments of `DetVisualizationHook`, if the hooks of the config draw what a test predicts.
        tta: None if the config has none.
        environment: processes, random numbers, places of files.
        device_normalize: let the model normalise images where its pipelines would do the same.
        dialect: that the config is written in; nothing but names in logs depends on it.
        name: of the config file, without its folder; '' if it comes from no file.
        experiment: name of the run in logs and checkpoints; '' for that of the config.
        text: the config as Python source, for logs and checkpoints; '' without a training.
        unread: messages about keys of the config that nothing reads.
        sources: places in the config of `train`, `val`, `test`, `load_from` and `resume_from`.
    """

    model: ConfigDict | None
    train: LoaderRecipe
    val: LoaderRecipe
    test: LoaderRecipe
    training: TrainingRecipe | None = None
    evaluation: EvaluationRecipe | None = None
    test_metrics: tuple[ConfigDict, ...] = ()
    test_fp16: bool = False
    test_drawing: ConfigDict | None = field(default=None, compare=False)  # the hook is compared
    tta: TTARecipe | None = None
    environment: Environment = Environment()
    device_normalize: bool = True
    dialect: Literal[2, 3] = field(default=2, compare=False)
    name: str = field(default='', compare=False)
    experiment: str = field(default='', compare=False)
    text: str = field(default='', compare=False)
    unread: tuple[str, ...] = field(default=(), compare=False)
    sources: Mapping[str, Source] = field(default_factory=dict, compare=False)

    def source(self, name: str) -> Source:
        """Place in the config of a field of this recipe."""
        return self.sources.get(name, Source(name))


@dataclass(frozen=True)
class Overrides:
    """Settings from the command line that replace those of a config; None and False leave what the config says.

    Each is named like the option that it comes from.
    """

    work_dir: str | None = None
    load_from: str | None = None
    resume_from: str | None = None
    auto_resume: bool = False
    auto_scale_lr: bool = False
    amp: bool = False
    seed: int | None = None
    deterministic: bool = False
    device: str | None = None
