"""The group `training` of a run's configuration."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Group(BaseModel):
    """Fields that belong together; frozen, and unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def only_for(**others: str | tuple[str, ...]) -> dict[str, Any]:
    """For forms: the field matters only if a field of the group has one of these values."""
    return {"only_for": {k: [v] if isinstance(v, str) else list(v) for k, v in others.items()}}


def zero_means(text: str) -> dict[str, Any]:
    """For people: what 0 stands for. A form shows an empty field that says so, in place of 0."""
    return {"zero": text}


class Training(Group):
    """Optimiser, schedule, loss and epochs."""

    epochs: int = Field(
        20, title="Epochs", description="Passes over the training data.", ge=1, le=5000
    )
    batch_size: int = Field(
        32, title="Batch size", description="Segments per optimiser step.", ge=1, le=4096
    )
    optimiser: Literal["adam", "adamw", "sgd", "rmsprop", "adadelta"] = Field(
        "adam",
        title="Optimiser",
        description="Adam (Kingma 2015), AdamW (Loshchilov 2019), SGD with momentum, "
        "RMSprop (Hinton 2012) or Adadelta (Zeiler 2012).",
    )
    momentum: float = Field(
        0.9,
        title="Momentum",
        description="For SGD.",
        ge=0.0,
        le=0.999,
        json_schema_extra=only_for(optimiser="sgd"),
    )
    lr: float = Field(
        1e-3,
        title="Learning rate",
        description="Constant, or the highest rate of a schedule.",
        gt=0.0,
        le=10.0,
    )
    weight_decay: float = Field(
        0.0,
        title="Weight decay",
        description="L2 penalty, or decoupled decay (AdamW).",
        ge=0.0,
        le=1.0,
    )
    schedule: Literal["constant", "one_cycle", "plateau", "cyclic", "cosine"] = Field(
        "constant",
        title="Schedule",
        description="Constant; one cycle of warm-up and cosine decay (Smith 2018); reduced on "
        "plateaus of the validation loss (Belton); triangular cycles (Smith 2017, Liu); or cosine "
        "decay after a warm-up (Loshchilov 2017).",
    )
    lr_low: float = Field(
        0.0,
        title="Lowest learning rate",
        description="Start of a cycle, end of a cosine, lowest rate on plateaus.",
        ge=0.0,
        le=10.0,
        json_schema_extra=only_for(schedule=("plateau", "cyclic", "cosine")),
    )
    cycle_epochs: int = Field(
        8,
        title="Epochs of half a cycle",
        description="From the lowest rate to the highest; the way down takes as many.",
        ge=1,
        le=5000,
        json_schema_extra=only_for(schedule="cyclic"),
    )
    warmup_epochs: int = Field(
        1,
        title="Epochs of warm-up",
        description="The rate rises to its highest in these epochs.",
        ge=0,
        le=5000,
        json_schema_extra=only_for(schedule="cosine"),
    )
    plateau_patience: int = Field(
        3,
        title="Patience of the plateau (epochs)",
        description="The rate is reduced after more than this many epochs without a lower "
        "validation loss.",
        ge=0,
        le=5000,
        json_schema_extra=only_for(schedule="plateau"),
    )
    plateau_factor: float = Field(
        0.1,
        title="Factor of the plateau",
        description="The rate is multiplied by it.",
        gt=0.0,
        lt=1.0,
        json_schema_extra=only_for(schedule="plateau"),
    )
    watch: str = Field(
        "accuracy",
        title="Watched validation metric",
        description="Decides which epoch is the best, and when early stopping ends training.",
        json_schema_extra={"registry": "metric"},  # whose names `evaluation.metrics` knows
    )
    patience: int = Field(
        0,
        title="Early stopping patience (epochs)",
        description="Training ends after this many epochs without a better value of that metric.",
        ge=0,
        le=5000,
        json_schema_extra=zero_means("all epochs are trained"),
    )
    choose_epoch: Literal["best", "last"] = Field(
        "best",
        title="Tested epoch",
        description="The one with the best validation metric, or the last.",
    )
    ties: Literal["loss", "first"] = Field(
        "loss",
        title="Equal epochs",
        description="Of epochs with an equal value of the watched metric, the better one is that "
        "with the lower validation loss, and early stopping waits anew; or the first, and it does "
        "not.",
        json_schema_extra=only_for(choose_epoch="best"),
    )
    output: Literal["logits", "log_sigmoid", "softmax"] = Field(
        "logits",
        title="Output given to the loss",
        description="Cross-entropy (log-softmax and negative log-likelihood) of the logits, or of "
        "their log-sigmoids or softmax, the last layers of Qin's networks.",
    )
    loss: Literal["cross_entropy", "likelihood", "binary", "squares"] = Field(
        "cross_entropy",
        title="Loss",
        description="Of that output: cross-entropy; the negative log-likelihood, which takes it "
        "for logarithms of probabilities; binary cross-entropy of each genre; or squared "
        "differences from 1 for the genre and 0 for the others.",
    )
    label_smoothing: float = Field(
        0.0,
        title="Label smoothing",
        description="Share of the target that is spread over all genres (Szegedy 2016).",
        ge=0.0,
        le=0.9,
    )
    class_weights: bool = Field(
        False,
        title="Class weights",
        description="All genres count the same in the loss, however many training clips each has.",
    )
    clip_norm: float = Field(
        0.0,
        title="Gradient clipping",
        description="Largest norm of the gradient over all weights.",
        ge=0.0,
        le=1e6,
        json_schema_extra=zero_means("not clipped"),
    )
    accumulate: int = Field(
        1,
        title="Batches per step",
        description="Gradients of this many batches are averaged for one optimiser step.",
        ge=1,
        le=1024,
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        title="Precision",
        description="auto uses bfloat16 if the hardware has matrix units for it, else float32; "
        "float16 is used with loss scaling.",
    )
    compile: bool = Field(
        False,
        title="Compile the network",
        description="torch.compile: takes a minute, then steps are faster; needs a C++ compiler.",
    )
    deterministic: bool = Field(
        False,
        title="Deterministic algorithms only",
        description="Bit for bit the same result on a GPU too; slower.",
    )
