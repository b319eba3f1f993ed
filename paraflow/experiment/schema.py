"""The keys of an experiment's configuration: their types, defaults, limits and descriptions.

Every table is a frozen model that refuses keys it does not know and converts nothing: ``epochs = "3"`` is a
fault. Reading a file, and saying what is wrong with it, is the work of ``paraflow.experiment.config``.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from paraflow.compiler.pipeline import OPTIONAL, STAGES, CompilerOptions
from paraflow.errors import InvalidArgumentError
from paraflow.experiment.data_tables import MNIST, BuiltData, Digits, FashionMNIST, NpzData
from paraflow.experiment.model_tables import BuiltModel, CNNModel, MLPModel, RNNModel
from paraflow.experiment.optimizer_tables import (
    LAMB,
    LARS,
    Adadelta,
    Adagrad,
    AdagradDA,
    Adam,
    AdamW,
    Ftrl,
    GradientDescent,
    Momentum,
    ProximalAdagrad,
    ProximalGradientDescent,
    RMSProp,
)
from paraflow.experiment.table import (
    BUILDER_KEY,
    DecayRate,
    FileName,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Table,
)
from paraflow.experiment.toml_text import toml_key

# Keys that name files to read.
INPUT_FILES = (("data", "path"), ("data", BUILDER_KEY), ("model", BUILDER_KEY))


def _usable_as_folder_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise ValueError("must be made of letters, digits, '_', '-' and '.', for it names a directory")
    return name


FolderName = Annotated[str, AfterValidator(_usable_as_folder_name)]


class Experiment(Table):
    """What is run, and where its results go."""

    name: FolderName = Field(description="name of the experiment; run directories begin with it")
    seed: int = Field(
        default=1, ge=0, lt=2**63, description="seed of initial values, of the order of samples, of random operations"
    )
    directory: FileName = Field(
        default="runs", description="where run directories are made; relative to the working directory"
    )
    dtype: Literal["float32", "float64"] = Field(default="float32", description="dtype of features and variables")
    threads: PositiveInt = Field(
        default=1, description="threads of each rank that run independent operations at the same time"
    )
    tensorboard: bool = Field(
        default=False, description="write metrics and graph for TensorBoard as well; needs paraflow[tensorboard]"
    )


class Train(Table):
    """How long to train, and how often to look."""

    epochs: PositiveInt | None = Field(default=None, description="passes over the training samples")
    steps: PositiveInt | None = Field(
        default=None, description="global steps; where epochs are given too, the earlier end counts"
    )
    evaluate_every: NonNegativeInt = Field(
        default=1, description="epochs between evaluations on the test samples; 0: only at the end"
    )
    log_every: PositiveInt = Field(default=10, description="steps between two lines of metrics.jsonl")
    trace: Annotated[tuple[PositiveInt, ...], Field(strict=False, min_length=2, max_length=2)] | None = Field(
        default=None,
        description="[first, last]: steps that are traced; trace.json in the run directory, of all ranks, is for "
        "ui.perfetto.dev",
    )

    @model_validator(mode="after")
    def _has_an_end(self) -> "Train":
        if self.epochs is None and self.steps is None:
            raise ValueError("needs 'epochs' or 'steps', or training would never end")
        return self

    @model_validator(mode="after")
    def _traces_forwards(self) -> "Train":
        if self.trace is not None and self.trace[0] > self.trace[1]:
            raise ValueError(f"trace = {list(self.trace)}: the first step comes after the last one")
        return self


_EXCHANGING = ("allreduce", "parameter_server", "backup_workers", "local_sgd", "easgd", "gossip")
_MODES_OF: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("bucket_bytes", "algorithm", "autotune", "shared_memory"), ("allreduce",)),
    **dict.fromkeys(("servers", "staleness", "scale_by_staleness", "delay_compensation"), ("parameter_server",)),
    **dict.fromkeys(("backup", "late"), ("backup_workers",)),
    "period": ("local_sgd", "easgd", "gossip"),
    **dict.fromkeys(("warmup", "outer", "outer_learning_rate", "outer_momentum"), ("local_sgd",)),
    "moving_rate": ("easgd",),
    **dict.fromkeys(("topology", "consensus"), ("gossip",)),
    "compress": _EXCHANGING,
}
"""The modes in which a key of [parallel] counts, where these are not all."""


class _Need(NamedTuple):
    """``keys`` of [parallel] do not count where the value of ``of`` is ``idle``; ``instead`` says with what they do."""

    keys: tuple[str, ...]
    of: str
    idle: Callable[[Any], bool]
    instead: str


_NEEDS = (
    _Need(("compress_ratio",), "compress", lambda value: value == "none", "'topk', 'randomk'"),
    _Need(("compress_rank",), "compress", lambda value: value == "none", "'powersgd'"),
    _Need(("compress_warmup", "error_feedback"), "compress", lambda value: value == "none", "any other"),
    _Need(("bucket_bytes", "algorithm", "shared_memory"), "compress", lambda value: value != "none", "'none'"),
    _Need(("outer_learning_rate", "outer_momentum"), "outer", lambda value: value == "average", "'nesterov'"),
    _Need(("scale_by_staleness", "delay_compensation"), "staleness", lambda value: value == 0, "1 or more, or not set"),
)
"""What a key of [parallel] needs of another one, beside its mode."""


class Parallel(Table):
    """How the ranks work together."""

    # One flat table, not one per mode: changing `mode` alone turns a synchronous run into an asynchronous one.
    mode: Literal[
        "single", "allreduce", "parameter_server", "backup_workers", "local_sgd", "easgd", "gossip"
    ] = Field(
        default="allreduce",
        description="single: one process; allreduce: synchronous, on any number of ranks; "
        "parameter_server: asynchronous, through ranks that keep the parameters; "
        "backup_workers: synchronous, through a rank that does not wait for the slowest; "
        "local_sgd: steps by oneself, then parameters are averaged over all ranks; "
        "easgd: a spring between each rank's parameters and a centre; "
        "gossip: parameters are averaged with a few neighbours",
    )
    bucket_bytes: PositiveInt | None = Field(
        default=None,
        description="allreduce: bytes of gradients that are exchanged together; not set: 4 MiB, or what autotune finds",
    )
    algorithm: Literal["mpi", "ring"] | None = Field(
        default=None,
        description="allreduce: how several nodes sum gradients; mpi: as the MPI library does; ring: by messages on a "
        "ring of the nodes, which on 3, 5, 6, 7, ... nodes and a slow wire can be faster; not set: mpi, or what "
        "autotune finds",
    )
    autotune: bool = Field(
        default=False,
        description="allreduce: before the first step try several bucket_bytes, and between nodes each algorithm, and "
        "go on with the fastest; the run's "
        "own config.toml then has that one, and repeats the run bit by bit",
    )
    shared_memory: bool = Field(
        default=True,
        description="allreduce: the ranks of a node have one copy of parameters and slots in shared memory; "
        "false: each has its own",
    )
    accumulate: PositiveInt = Field(
        default=1,
        description="single, allreduce: batches whose gradients are added up before one update; the steps of [train] "
        "are batches, those of schedules updates",
    )
    servers: PositiveInt = Field(
        default=1, description="parameter_server: ranks, the last ones, that share out the variables; all others train"
    )
    staleness: NonNegativeInt | None = Field(
        default=None,
        description="parameter_server: steps by which a worker may be ahead of the slowest one before it waits; "
        "0: synchronous; not set: it never waits",
    )
    scale_by_staleness: bool = Field(
        default=False,
        description="parameter_server: a gradient that is tau updates stale makes 1 / (1 + tau) of its change",
    )
    delay_compensation: NonNegativeFloat = Field(
        default=0.0,
        description="parameter_server: c in g + c * g * g * (w - w_pulled), which a stale gradient g is corrected to",
    )
    backup: NonNegativeInt = Field(
        default=1,
        description="backup_workers: how many workers a step does not wait for; the others have the batch together; "
        "0: it waits for all",
    )
    late: Literal["drop", "add"] = Field(
        default="drop",
        description="backup_workers: what becomes of a gradient whose step is closed; "
        "add: it counts in the next, with 1 / (1 + steps closed since) of its samples",
    )
    period: PositiveInt | None = Field(
        default=None,
        description="local_sgd, easgd, gossip: steps from one averaging to the next; not set: 10, for gossip 1",
    )
    warmup: NonNegativeInt = Field(
        default=0, description="local_sgd: steps at the beginning that are averaged one by one"
    )
    outer: Literal["average", "nesterov"] = Field(
        default="average",
        description="local_sgd: what follows the local steps; average: ranks go on from the average; "
        "nesterov: from a step with Nesterov momentum along the average change (DiLoCo)",
    )
    outer_learning_rate: PositiveFloat = Field(default=0.7, description="local_sgd, outer = nesterov: its step size")
    outer_momentum: DecayRate = Field(default=0.9, description="local_sgd, outer = nesterov: its momentum")
    moving_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.9, description="easgd: share of the way to the ranks' average that the centre goes at a time"
    )
    topology: Literal["ring", "random", "complete"] = Field(
        default="ring",
        description="gossip: with whom a rank averages; ring: the ranks before and after; "
        "random: one partner, drawn anew each time; complete: all",
    )
    consensus: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="gossip: with compress, by what part of the usual step a rank moves towards its neighbours; what "
        "leaves much out needs a small one; not set: 1 for fp16 and bf16, else 0.1, for randomk at most compress_ratio",
    )
    compress: Literal["none", "fp16", "bf16", "topk", "randomk", "powersgd", "onebit"] = Field(
        default="none",
        description="how gradients travel; local_sgd, easgd: changes of parameters; gossip: differences to what "
        "neighbours know of them. none: as they are; fp16, bf16: in 16 bits; topk: the largest elements; "
        "randomk: random ones; powersgd: matrices as products of two thin ones; onebit: signs and magnitudes",
    )
    compress_ratio: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.01, description="topk, randomk: the part of each gradient's elements that travels"
    )
    compress_rank: PositiveInt = Field(default=4, description="powersgd: columns of the two factors")
    compress_warmup: NonNegativeInt = Field(
        default=0,
        description="steps at the start in which gradients travel uncompressed; local_sgd, easgd: averagings",
    )
    error_feedback: bool = Field(
        default=True, description="what compression leaves out of a message is added to the next one"
    )

    def unused(self) -> list[str]:
        """A line for each key that has been set to something and does not count, with its mode or with another key.

        They are no faults, as changing that one alone is how the same configuration is run in another way.
        """
        lines = {}
        for key, modes in _MODES_OF.items():
            if self.mode not in modes and self._is_set(key):
                lines[key] = f"mode = '{self.mode}' (with {', '.join(map(repr, modes))})"
        for keys, of, idle, instead in _NEEDS:
            value = getattr(self, of)
            for key in keys if idle(value) else ():
                if self._is_set(key):
                    lines.setdefault(key, f"{of} = {value!r} (with {instead})")
        return [f"parallel.{k} = {json.dumps(getattr(self, k))} means nothing with {why}" for k, why in lines.items()]

    def _is_set(self, key: str) -> bool:
        """Whether the configuration sets ``key`` to another value than it has without."""
        return key in self.model_fields_set and getattr(self, key) != type(self).model_fields[key].default

    @model_validator(mode="after")
    def _accumulates_where_it_can(self) -> "Parallel":
        if self.accumulate > 1 and self.mode not in ("single", "allreduce"):
            raise ValueError(
                f"accumulate = {self.accumulate} is for mode = 'single' or 'allreduce', not for '{self.mode}': set one "
                "of the two"
            )
        return self

    @model_validator(mode="after")
    def _tunes_what_is_open(self) -> "Parallel":
        for key in ("bucket_bytes", "algorithm"):
            if self.autotune and (value := getattr(self, key)) is not None:
                raise ValueError(
                    f"autotune = true chooses {key}, but {key} = {json.dumps(value)} is set: leave one of the two out"
                )
        if self.autotune and self.compress != "none":
            raise ValueError(
                f"autotune = true chooses bucket_bytes, but compress = '{self.compress}' makes no buckets: leave one "
                "of the two out"
            )
        return self

    @model_validator(mode="after")
    def _compresses_what_it_can(self) -> "Parallel":
        if self.compress == "none":
            if self.consensus is not None and self.mode == "gossip":
                raise ValueError(f"consensus = {self.consensus} is for compress other than 'none': leave it out")
            return self
        if self.mode == "gossip" and self.compress_warmup:
            raise ValueError(f"compress_warmup = {self.compress_warmup}: gossip has no warm-up; set it to 0")
        if self.mode in ("easgd", "gossip") and not self.error_feedback:
            raise ValueError(
                f"error_feedback = false: {self.mode} has to know what a message leaves out; set it to true"
            )
        for key, users in {"compress_ratio": ("topk", "randomk"), "compress_rank": ("powersgd",)}.items():
            if getattr(self, key) != type(self).model_fields[key].default and self.compress not in users:
                raise ValueError(f"{key} is for compress = {' or '.join(map(repr, users))}, not for '{self.compress}'")
        return self


class Compiler(Table):
    """What the compiler leaves out, and what it writes of its passes."""

    disable: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=(),
        description=f"optional passes that are left out, of {', '.join(OPTIONAL)}: results keep their bytes, and take "
        "more time or memory",
    )
    dump: str | Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=(),
        description="passes whose result is written as text into the run directory, a file for each pass and plan, "
        f"of {', '.join(STAGES)}, or 'all'",
    )

    rematerialise: bool = Field(
        default=False,
        description="training steps keep about sqrt(n) of the n results that backward needs, and compute the others "
        "again: the same bytes in less memory and more time",
    )

    memory_budget: PositiveInt | str | None = Field(
        default=None,
        description="bytes, or a text such as '256 MiB': training steps compute as much again as lets their results "
        "(not parameters, slots and gradients) fit in it, at the least cost, and end with an error where they cannot",
    )

    @field_validator("disable", "dump", "memory_budget")
    @classmethod
    def _is_known_to_the_compiler(cls, value: Any, info: ValidationInfo) -> Any:
        try:
            CompilerOptions(**{str(info.field_name): value})
        except InvalidArgumentError as error:
            raise ValueError(str(error).partition(": ")[2]) from None
        return value

    @model_validator(mode="after")
    def _computes_again_in_one_way(self) -> "Compiler":
        try:
            self.options()
        except InvalidArgumentError as error:
            raise ValueError(str(error)) from None
        return self

    def options(self) -> CompilerOptions:
        """What a session is told; where dumps are written is the run's to say."""
        return CompilerOptions(self.disable, rematerialise=self.rematerialise, memory_budget=self.memory_budget)


def _kind(table: object) -> str | None:
    """The tag of a table that holds either ``name`` or ``builder``."""
    if isinstance(table, Table):
        return str(getattr(table, "name", BUILDER_KEY))
    if isinstance(table, dict):
        name = BUILDER_KEY if BUILDER_KEY in table else table.get("name")
        return None if name is None else str(name)
    return BUILDER_KEY  # any variant serves to report that this is not a table


class Clash(ValueError):
    """Keys of several tables that do not go together: the one that is wrong, what is wrong with it, and its value."""

    def __init__(self, key: tuple[str, ...], problem: str, value: object) -> None:
        super().__init__(problem)
        self.key, self.problem, self.value = key, problem, value


class Config(Table):
    """A whole experiment."""

    experiment: Experiment = Field(description=Experiment.__doc__)
    data: Annotated[
        Annotated[Digits, Tag("digits")]
        | Annotated[FashionMNIST, Tag("fashion_mnist")]
        | Annotated[MNIST, Tag("mnist")]
        | Annotated[NpzData, Tag("npz")]
        | Annotated[BuiltData, Tag(BUILDER_KEY)],
        Discriminator(_kind),
    ] = Field(description="The samples, and how they are cut into batches.")
    model: Annotated[
        Annotated[MLPModel, Tag("mlp")]
        | Annotated[CNNModel, Tag("cnn")]
        | Annotated[RNNModel, Tag("rnn")]
        | Annotated[BuiltModel, Tag(BUILDER_KEY)],
        Discriminator(_kind),
    ] = Field(description="What is trained.")
    optimizer: (
        GradientDescent | Momentum | Adagrad | AdagradDA | Adadelta | RMSProp | Adam | AdamW | LARS | LAMB | Ftrl
        | ProximalGradientDescent | ProximalAdagrad
    ) = Field(discriminator="name", description="How gradients change the variables.")  # fmt: skip
    train: Train = Field(description=Train.__doc__)
    parallel: Parallel = Field(default=Parallel(), description=Parallel.__doc__)
    compiler: Compiler = Field(default=Compiler(), description=Compiler.__doc__)

    @model_validator(mode="after")
    def _clips_in_one_place(self) -> "Config":
        clip_norm, servers = self.optimizer.clip_norm, self.parallel.servers
        if clip_norm is not None and self.parallel.mode == "parameter_server" and servers > 1:
            problem = f"needs all gradients in one place, but parallel.servers = {servers} share them out: set it to 1"
            raise Clash(("optimizer", "clip_norm"), problem, clip_norm)
        return self

    @model_validator(mode="after")
    def _statistics_of_common_steps(self) -> "Config":
        normalization, mode = getattr(self.model, "normalization", "none"), self.parallel.mode
        if normalization == "synchronized_batch" and mode not in ("single", "allreduce"):
            problem = (
                f"needs ranks that step together, as those of parallel.mode = 'allreduce' do, not those of '{mode}': "
                "set it to 'batch', or parallel.mode to 'allreduce'"
            )
            raise Clash(("model", "normalization"), problem, normalization)
        return self


def variants(table: str) -> dict[str, type[Table]]:
    """The models that the top-level table ``table`` may be, by the name that selects each (or ``builder``)."""
    annotation = Config.model_fields[table].annotation
    if isinstance(annotation, type):
        return {"": annotation}
    found = {}
    for member in get_args(annotation):
        model = next(iter(get_args(member)), member)  # without its Tag
        name = model.model_fields.get("name")
        found[BUILDER_KEY if name is None else get_args(name.annotation)[0]] = model
    return found


def shared_leaves(config: Config) -> dict[str, str]:
    """The values of a configuration as JSON text by key, without what may differ from host to host (where files lie).

    All ranks of a run have to have the same, in the same order.
    """
    values = config.model_dump()
    del values["experiment"]["directory"]
    for table, key in INPUT_FILES:
        if key == BUILDER_KEY and key in values[table]:
            values[table][key] = PurePath(values[table][key]).name
        else:
            values[table].pop(key, None)
    return dict(_leaves((), values))


def _leaves(path: tuple[str, ...], table: Mapping[str, object]) -> Iterable[tuple[str, str]]:
    # A model's keys have the order of the schema, the options of a builder that of the file.
    for name, value in sorted(table.items()) if "options" in path else table.items():
        if isinstance(value, Mapping):
            yield from _leaves((*path, name), value)
        else:
            yield ".".join(map(toml_key, (*path, name))), json.dumps(value, default=str, sort_keys=True)
