"""What the HTTP service takes and answers, in the form of OpenAPI 3.1."""

from __future__ import annotations

from typing import Any

from genrecore import __version__
from genrecore.inference import doubts
from genrecore.inference.ensemble import Ensemble

MOST_S = 1200.0
"""The longest file, and so the latest place and the longest excerpt, in seconds."""


def describe(asked: Ensemble, with_token: bool, most_bytes: int, within_s: float) -> dict[str, Any]:
    """The description of a server with these runs and limits (`service.ServiceLimits`)."""
    ids = [one.run.run_id for one in asked.loaded]
    picture = asked.loaded[0].medium == "image"
    what = "a picture like those the run was trained on" if picture else "an audio file"
    binary = {"type": "string", "format": "binary"}
    single = len(ids) == 1
    operation: dict[str, Any] = {
        "summary": "Classify one file",
        "description": f"Send {what}, as it is or as the one file of a form. Asked are: "
        + ", ".join(ids)
        + ".",
        "operationId": "classify",
        "parameters": [
            _query("name", {"type": "string"}, "What to call a file that is sent as it is."),
            _query(
                "start_s",
                {"type": "number", "minimum": 0, "maximum": MOST_S},
                "Where to start, in seconds; by default the middle of the file is judged.",
            ),
            _query(
                "length_s",
                {"type": "number", "minimum": 1, "maximum": MOST_S},
                "How many seconds to judge; by default as much as of a training clip.",
            ),
            _query(
                "doubts",
                {"type": "boolean", "default": False},
                "Whether to say why not to believe the verdict, as far as that is known.",
            ),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {"schema": binary},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {"file": binary},
                        "required": ["file"],
                    }
                },
            },
        },
        "responses": {
            "200": _answer("The verdict", "Verdict" if single else "Answer"),
            "400": _answer("No file, a form that cannot be read, or a wrong parameter", "Error"),
            "408": _answer(f"The upload took longer than {within_s:g} s", "Error"),
            "413": _answer(f"More than {most_bytes / 1e6:g} MB", "Error"),
            "422": _answer("The file cannot be used; the sentence says why", "Error"),
            "503": _answer("Too many requests at once, or judging took too long", "Error"),
        },
    }
    if with_token:
        operation["security"] = [{"token": []}]
        operation["responses"]["401"] = _answer("The token is missing or wrong", "Error")
    schemas = {"Error": _ERROR, "Doubt": _DOUBT}
    if single:
        schemas["Verdict"] = _with_doubts(_verdict(asked.loaded[0].genres, picture))
    else:
        schemas["Verdict"] = _verdict(None, picture)
        schemas["Answer"] = _with_doubts(_of_several(asked.genres))
    components: dict[str, Any] = {"schemas": schemas}
    if with_token:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    alive = {"type": "object", "properties": {"status": {"const": "ok"}}, "required": ["status"]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "genrecore",
            "version": __version__,
            "description": "Music genre classification by trained runs.",
        },
        "paths": {
            "/classify": {"post": operation},
            "/healthz": {
                "get": {
                    "summary": "Whether the server answers",
                    "operationId": "health",
                    "responses": {"200": _content("It does", alive)},
                }
            },
            "/openapi.json": {
                "get": {
                    "summary": "This description",
                    "operationId": "description",
                    "responses": {"200": _content("It", {"type": "object"})},
                }
            },
        },
        "components": components,
    }


def _query(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _content(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _answer(description: str, name: str) -> dict[str, Any]:
    return _content(description, {"$ref": f"#/components/schemas/{name}"})


_ERROR: dict[str, Any] = {
    "type": "object",
    "properties": {"error": {"type": "string", "description": "One sentence for a person"}},
    "required": ["error"],
}


_DOUBT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {
            "type": "string",
            "enum": [*doubts.KINDS],
            "description": "'held out' is none, but worth knowing",
        },
        "sentence": {"type": "string"},
        "runs": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Whose doubt it is; empty where it is about the recording itself",
        },
    },
    "required": ["kind", "sentence", "runs"],
}


def _with_doubts(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of an answer that holds doubts where they were asked for."""
    doubts = {"type": "array", "items": {"$ref": "#/components/schemas/Doubt"}}
    return {**schema, "properties": {**schema["properties"], "doubts": doubts}}


def _proba(genres: list[str] | None) -> dict[str, Any]:
    share = {"type": "number", "minimum": 0, "maximum": 1}
    if genres is None:
        return {"type": "object", "additionalProperties": share}
    return {
        "type": "object",
        "properties": dict.fromkeys(genres, share),
        "required": list(genres),
        "additionalProperties": False,
    }


def _genre(genres: list[str] | None) -> dict[str, Any]:
    return {"type": "string"} if genres is None else {"type": "string", "enum": list(genres)}


def _verdict(genres: list[str] | None, picture: bool) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "name": {"type": "string"},
        "run": {"type": "string"},
        "genre": _genre(genres),
        "proba": {**_proba(genres), "description": "Calibrated probabilities"},
        "uncalibrated": _proba(genres),
        "temperature": {"type": "number", "exclusiveMinimum": 0},
    }
    if not picture:
        second = {"type": "number", "minimum": 0}
        properties |= {"duration_s": second, "start_s": second, "judged_s": second}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _of_several(genres: list[str] | None) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "name": {"type": "string"},
        "agreement": {"type": "string"},
        "runs": {"type": "array", "items": {"$ref": "#/components/schemas/Verdict"}},
    }
    if genres is not None:
        properties |= {"genre": _genre(genres), "proba": _proba(genres)}
    return {"type": "object", "properties": properties, "required": list(properties)}
