"""Command-line flags made from the fields of a pydantic model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer import Option

from genrecore.config.run import Part
from genrecore.evaluation import metrics


def with_flags(
    model: type[BaseModel],
    as_text: bool = False,
    defaults: Mapping[str, str] = MappingProxyType({}),
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds a flag for each field of the model to a command that takes `values: dict[str, Any]`.

    Groups are flattened (`training.batch_size` becomes `--batch-size`), a part's flag takes its
    name (`--model cnn`). `values` holds the values of the flags that are given, by dotted field.
    With `as_text`, flags take any text, for commands that read several values from it. `defaults`
    are what help says instead of a field's own default.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters = dict(inspect.signature(command, eval_str=True).parameters)
        del parameters["values"]
        dotted_by_flag: dict[str, str] = {}
        for dotted, info in _leaves(model):
            flag = dotted.rpartition(".")[2]
            if flag in dotted_by_flag:
                raise ValueError(f"two fields want the flag --{flag}")
            dotted_by_flag[flag] = dotted
            parameters[flag] = _parameter(flag, dotted, info, as_text, defaults.get(dotted))

        def run(**arguments: Any) -> None:
            texts = {dotted: arguments.pop(flag) for flag, dotted in dotted_by_flag.items()}
            values = {dotted: text for dotted, text in texts.items() if text is not None}
            command(**arguments, values=values)

        run.__doc__, run.__name__ = command.__doc__, command.__name__
        signature = inspect.Signature(list(parameters.values()))
        run.__signature__ = signature  # type: ignore[attr-defined]
        return run

    return decorate


def _leaves(model: type[BaseModel], prefix: str = "") -> list[tuple[str, FieldInfo]]:
    leaves = []
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not Part:
            leaves += _leaves(kind, f"{prefix}{name}.")
        else:
            leaves.append((prefix + name, info))
    return leaves


def _parameter(
    flag: str, dotted: str, info: FieldInfo, as_text: bool, shown_default: str | None
) -> inspect.Parameter:
    kind: Any = info.annotation
    default, limits = info.default, {}
    if kind is Part:
        default, kind = info.default.name, str
    elif kind == tuple[Part, ...]:
        default, kind = "none", str
    elif metrics.choices(info):
        kind = Literal[metrics.choices(info)]
    elif get_origin(kind) is Literal:
        kind = Literal[tuple(str(choice) for choice in get_args(kind))]
    else:
        ends = {"min": "ge", "max": "le"}
        limits = {
            end: getattr(item, name)
            for item in info.metadata
            for end, name in ends.items()
            if getattr(item, name, None) is not None
        }
    if as_text and kind is not bool:
        kind, limits = str, {}
    group = dotted.split(".")[0] if "." in dotted else "what"
    default = shown_default or default
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    zero = f" 0: {extra['zero']}." if "zero" in extra else ""
    option = Option(
        f"--{flag.replace('_', '-')}",
        help=f"{info.title}. {info.description or ''}{zero}".strip() + f" [default: {default}]",
        rich_help_panel=f"Configuration: {group}",
        show_default=False,
        **limits,
    )
    optional = kind | None if kind in (bool, int, float, str) else kind
    return inspect.Parameter(
        flag, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[optional, option]
    )
