"""Command-line flags made from the fields of a pydantic model: nothing is typed in twice."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer import Option

from genrecore.config.run import Part
from genrecore.evaluation import metrics


def with_flags(
    model: type[BaseModel], as_text: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds one flag a field to a command that takes them as `values: dict[str, Any]`.

    Groups are flattened (`training.batch_size` becomes `--batch-size`), a part's flag takes its
    name (`--model cnn`). Flags that are not given are absent from `values`, whose keys are the
    dotted fields.

    Args:
        model: Whose fields become flags.
        as_text: Whether flags that take a value take any text, for commands that read several
            values from it.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        dotted_by_flag: dict[str, str] = {}
        parameters = [
            parameter
            for parameter in inspect.signature(command, eval_str=True).parameters.values()
            if parameter.name != "values"
        ]
        for dotted, info in _leaves(model):
            flag = dotted.rsplit(".", 1)[-1]
            if flag in dotted_by_flag:
                raise ValueError(f"two fields want the flag --{flag}")
            dotted_by_flag[flag] = dotted
            parameters.append(_parameter(flag, dotted, info, as_text))

        def run(**given: Any) -> None:
            values = {
                dotted: given.pop(flag)
                for flag, dotted in dotted_by_flag.items()
                if given[flag] is not None
            }
            for flag in dotted_by_flag:
                given.pop(flag, None)
            command(**given, values=values)

        run.__doc__, run.__name__ = command.__doc__, command.__name__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
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


def _parameter(flag: str, dotted: str, info: FieldInfo, as_text: bool) -> inspect.Parameter:
    kind: Any = info.annotation
    limits: dict[str, Any] = {}
    if kind is Part:
        default, kind = info.default.name, str
    elif kind == tuple[Part, ...]:
        default, kind = "none", str
    elif metrics.choices(info):
        default, kind = info.default, Literal[metrics.choices(info)]
    elif get_origin(kind) is Literal:
        default = info.default
        kind = Literal[tuple(str(choice) for choice in get_args(kind))]
    else:
        default = info.default
        for item in info.metadata:
            if getattr(item, "ge", None) is not None:
                limits["min"] = item.ge
            if getattr(item, "le", None) is not None:
                limits["max"] = item.le
    if as_text and kind is not bool:
        kind, limits = str, {}
    words = f"{info.title}. {info.description or ''}".strip()
    panel = dotted.split(".")[0] if "." in dotted else "what"
    option = Option(
        f"--{flag.replace('_', '-')}",
        help=f"{words} [default: {default}]",
        rich_help_panel=f"Configuration: {panel}",
        show_default=False,
        **limits,
    )
    return inspect.Parameter(
        flag,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option]
        if kind in (bool, int, float, str)
        else Annotated[kind, option],
    )
