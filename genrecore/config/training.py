"""The recipe of training: the group `training` of a run's configuration."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Group(BaseModel):
    """Fields that belong together: unknown ones are refused, and nothing changes them."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def only_for(**others: str | tuple[str, ...]) -> dict[str, Any]:
    """What a form reads: the field matters only where a neighbouring one has such a value."""
    return {"only_for": {k: [v] if isinstance(v, str) else list(v) for k, v in others.items()}}


class Training(Group):
    """The recipe."""

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
        description="Of SGD.",
        ge=0.0,
        le=0.999,
        json_schema_extra=only_for(optimiser="sgd"),
    )
    lr: float = Field(
        1e-3,
        title="Learning rate",
        description="The constant rate, or the highest one of a schedule.",
        gt=0.0,
        le=10.0,
    )
    weight_decay: float = Field(
        0.0,
        title="Weight decay",
        description="L2 penalty, or decay of its own (AdamW).",
        ge=0.0,
        le=1.0,
    )
    schedule: Literal["constant", "one_cycle", "plateau", "cyclic", "cosine"] = Field(
        "constant",
        title="Schedule",
        description="Constant; one cycle of warm-up and cosine decay (Smith 2018); lower on a "
        "plateau of the validation loss (Belton); triangular cycles (Smith 2017, Liu); or a cosine "
        "after a warm-up (Loshchilov 2017).",
    )
    lr_low: float = Field(
        0.0,
        title="Lowest learning rate",
        description="Where a cycle starts, a cosine ends and a plateau lowers no further.",
        ge=0.0,
        le=10.0,
        json_schema_extra=only_for(schedule=("plateau", "cyclic", "cosine")),
    )
    cycle_epochs: int = Field(
        8,
        title="Epochs of half a cycle",
        description="From the lowest rate to the highest; as many go down again.",
        ge=1,
        le=5000,
        json_schema_extra=only_for(schedule="cyclic"),
    )
    warmup_epochs: int = Field(
        1,
        title="Epochs of warm-up",
        description="In which the rate climbs to its highest.",
        ge=0,
        le=5000,
        json_schema_extra=only_for(schedule="cosine"),
    )
    plateau_patience: int = Field(
        3,
        title="Patience of the plateau (epochs)",
        description="So many epochs without a lower validation loss are borne; the next one lowers "
        "the rate.",
        ge=0,
        le=5000,
        json_schema_extra=only_for(schedule="plateau"),
    )
    plateau_factor: float = Field(
        0.1,
        title="Factor of the plateau",
        description="What the rate is multiplied with.",
        gt=0.0,
        lt=1.0,
        json_schema_extra=only_for(schedule="plateau"),
    )
    watch: str = Field(
        "accuracy",
        title="Validation metric that decides",
        description="Which epoch is the best, and when training has stopped to improve.",
        json_schema_extra={"registry": "metric"},  # whose names `evaluation.metrics` knows
    )
    patience: int = Field(
        0,
        title="Early stopping patience (epochs)",
        description="Stop after so many epochs without a better value of that metric; 0 never "
        "does.",
        ge=0,
        le=5000,
    )
    choose_epoch: Literal["best", "last"] = Field(
        "best",
        title="Epoch that is tested",
        description="The one with the best validation metric, or the last.",
    )
    output: Literal["logits", "log_sigmoid", "softmax"] = Field(
        "logits",
        title="Output that the loss sees",
        description="The cross-entropy (log-softmax and negative log-likelihood) of the logits; or "
        "of their log-sigmoids or of their softmax, as Qin puts them last.",
    )
    label_smoothing: float = Field(
        0.0,
        title="Label smoothing",
        description="Share of the target that all genres have in common (Szegedy 2016).",
        ge=0.0,
        le=0.9,
    )
    class_weights: bool = Field(
        False,
        title="Weigh genres",
        description="Each genre counts alike in the loss, however many training clips it has.",
    )
    clip_norm: float = Field(
        0.0,
        title="Gradient clipping",
        description="The longest gradient (norm over all weights); 0 clips nothing.",
        ge=0.0,
        le=1e6,
    )
    accumulate: int = Field(
        1,
        title="Batches per step",
        description="Gradients of so many batches are averaged before the weights move.",
        ge=1,
        le=1024,
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        title="Precision",
        description="auto takes bfloat16 where the hardware has matrix units for it, else float32; "
        "float16 comes with a loss scaler.",
    )
    compile: bool = Field(
        False,
        title="Compile the network",
        description="torch.compile: a minute first, then faster steps; needs a C++ compiler.",
    )
    deterministic: bool = Field(
        False,
        title="Deterministic algorithms only",
        description="The same result to the last bit on a GPU, too, at some speed.",
    )
