"""The keys of ``[data]``: a table for each data set."""

from typing import Any, Literal

from pydantic import Field, model_validator

from paraflow.experiment.table import Builder, FileName, NonNegativeInt, PositiveInt, Table

RANK = "{rank}"  # in data.path


class _Batches(Table):
    batch_size: PositiveInt = Field(description="samples in a global batch, the sum over all ranks")
    shuffle: bool = Field(default=True, description="draw a new order of the samples in every epoch")
    last: Literal["keep", "drop"] = Field(default="keep", description="what to do with an incomplete last batch")
    prefetch: NonNegativeInt = Field(default=0, description="batches prepared ahead of the step that needs them")


class Digits(_Batches):
    """The 8x8 digits that come with paraflow."""

    name: Literal["digits"] = Field(description="1797 handwritten digits of 8x8, part of paraflow")


class _IdxImages(_Batches):
    path: FileName | None = Field(default=None, description="folder of its files, if not one of the default places")


class FashionMNIST(_IdxImages):
    """Fashion-MNIST, from the user's copy of its files."""

    name: Literal["fashion_mnist"] = Field(description="70000 articles of clothing of 28x28")


class MNIST(_IdxImages):
    """MNIST, from the user's copy of its files."""

    name: Literal["mnist"] = Field(description="70000 handwritten digits of 28x28")


class _OwnData(_Batches):
    per_rank: bool = Field(
        default=False,
        description="each rank that trains reads samples of its own, of any number; "
        "false: all read the same, of which each takes its part",
    )


class NpzData(_OwnData):
    """Arrays in a file of the user's own."""

    name: Literal["npz"] = Field(description="arrays in an .npz file")
    path: FileName = Field(description="the .npz file; with per_rank, {rank} in it stands for the number of the rank")

    @model_validator(mode="after")
    def _names_a_file_for_each_rank(self) -> "NpzData":
        if self.per_rank and RANK not in self.path:
            raise ValueError(f"per_rank = true needs {RANK} in path, as in 'shard-{RANK}.npz': a file for each rank")
        if RANK in self.path and not self.per_rank:
            raise ValueError(f"path has {RANK} in it, which is for per_rank = true")
        return self


class BuiltData(_OwnData):
    """A data set made by a function of the user's own."""

    builder: Builder = Field(
        description="PATH.py:FUNCTION that returns the data; with per_rank it is called with rank and ranks too"
    )
    options: dict[str, Any] = Field(default={}, description="keyword arguments of the builder")

    @model_validator(mode="after")
    def _leaves_the_rank_to_paraflow(self) -> "BuiltData":
        taken = sorted({"rank", "ranks"}.intersection(self.options)) if self.per_rank else []
        if taken:
            raise ValueError(f"options cannot have {taken[0]!r} with per_rank = true, which gives it to the builder")
        return self
