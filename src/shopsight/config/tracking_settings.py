"""The section of the services that are shown a training."""

from __future__ import annotations

from typing import Annotated, Literal

from shopsight.config.reach import SENDS
from shopsight.config.section import Section


class TrackingSettings(Section):
    """CSV and TensorBoard are always written; this adds one more.

    Attributes:
        tracker: The service.
        project: The project's name (MLflow: the experiment's).
        location: MLflow's tracking URI, or the folder of Weights & Biases' files; unset: in the
            run folder.
    """

    tracker: Annotated[Literal["none", "mlflow", "wandb"], SENDS] = "none"
    project: Annotated[str, SENDS] = "shopsight"
    location: Annotated[str | None, SENDS] = None
