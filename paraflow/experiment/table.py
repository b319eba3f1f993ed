"""What the tables of a configuration are made of: their common base, and kinds of values."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

BUILDER_KEY = "builder"  # instead of a name: a function of the user's own

PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
DecayRate = Annotated[float, Field(ge=0, lt=1)]
FileName = Annotated[str, Field(min_length=1)]


def _is_builder(reference: str) -> str:
    path, separator, function = reference.rpartition(":")
    if not (separator and path.endswith(".py") and function.isidentifier()):
        raise ValueError("must be 'PATH.py:FUNCTION'")
    return reference


Builder = Annotated[str, AfterValidator(_is_builder)]


class Table(BaseModel):
    """A table of the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)
