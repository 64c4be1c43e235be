"""What every section of the settings is."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Keys that are checked and then frozen; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
