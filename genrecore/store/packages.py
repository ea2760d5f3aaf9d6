"""The packages that this one needs, as they are installed: versions, licences, who needs whom."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

_OWN = "genrecore"
_EXTRAS = ("", "onnx", "tensorboard", "mlflow")  # what users may install beside; not the tests'

_BY_NAME = {
    "apache software license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "simplified bsd": "BSD-2-Clause",
    "2-clause bsd": "BSD-2-Clause",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "nvidia proprietary software": "LicenseRef-NVIDIA-Proprietary",
    "other/proprietary license": "LicenseRef-NVIDIA-Proprietary",
}
"""SPDX names of the names that older packages use."""

_BY_PACKAGE = {
    "cuda-toolkit": "LicenseRef-NVIDIA-Proprietary",
    "kaleido": "MIT",
    "skops": "MIT",
}
"""Of packages whose metadata name none: as the files that they ship say."""

ALLOWED = frozenset({
    "0BSD", "AFL-2.1", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC",
    "LGPL-2.1-or-later", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Zlib",
    "Apache-2.0 WITH LLVM-exception", "LicenseRef-NVIDIA-Proprietary",
})  # fmt: skip
"""Licences that packages this one needs may have. soxr alone is under the LGPL, and is linked to at
run time; NVIDIA's libraries come with torch and are used as they are."""

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Package:
    """An installed package.

    Attributes:
        name: As it calls itself.
        version: Of it.
        licence: An SPDX expression, or `unknown`.
        needs: Names of installed packages that it asks for, normalised.
    """

    name: str
    version: str
    licence: str
    needs: tuple[str, ...]

    @property
    def purl(self) -> str:
        """Its address in the form that lists of software use."""
        return f"pkg:pypi/{canonicalize_name(self.name)}@{self.version}"

    @property
    def licences(self) -> list[str]:
        """The licences in its expression, each once."""
        parts = re.split(r" AND | OR ", self.licence.replace("(", "").replace(")", ""))
        return list(dict.fromkeys(part.strip() for part in parts))


def needed() -> list[Package]:
    """This package and everything that it needs, directly or through others, by name. Of what only
    its extras need, what is installed."""
    packages: dict[str, Package] = {}
    waiting: list[tuple[str, Sequence[str]]] = [(_OWN, _EXTRAS)]
    while waiting:
        name, extras = waiting.pop()
        key = str(canonicalize_name(name))
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        wanted = _wanted(distribution, extras)
        names = {str(canonicalize_name(requirement.name)) for requirement in wanted}
        before = packages.get(key)
        known = set(before.needs) if before else set()
        packages[key] = Package(
            distribution.metadata["Name"],
            distribution.version,
            _licence(distribution),
            tuple(sorted(known | names)),
        )
        for requirement in wanted:
            other = str(canonicalize_name(requirement.name))
            if other not in known:
                waiting.append((requirement.name, ("", *sorted(requirement.extras))))
    there = set(packages)
    return [
        Package(p.name, p.version, p.licence, tuple(name for name in p.needs if name in there))
        for _, p in sorted(packages.items())
    ]


def _wanted(distribution: metadata.Distribution, extras: Sequence[str]) -> list[Requirement]:
    wanted = []
    for text in distribution.requires or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:  # an old package's; pip could not install it either
            continue
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            wanted.append(requirement)
    return wanted


def _licence(distribution: metadata.Distribution) -> str:
    about = distribution.metadata
    expression = _field(distribution, "License-Expression")
    if expression:
        return expression
    name = str(canonicalize_name(about["Name"]))
    if name in _BY_PACKAGE:
        return _BY_PACKAGE[name]
    text = _field(distribution, "License").strip().split("\n")[0].strip()
    if text.lower() in _BY_NAME:
        return _BY_NAME[text.lower()]
    parts = re.split(r" AND | OR ", text)
    if text and all(part in ALLOWED for part in parts):
        return text
    classifiers = [
        line.split("::")[-1].strip()
        for line in about.get_all("Classifier") or []
        if line.startswith("License ::")
    ]
    known = [_BY_NAME[line.lower()] for line in classifiers if line.lower() in _BY_NAME]
    if known:
        return " OR ".join(dict.fromkeys(known))
    return _BY_NAME.get(re.sub(r"\s+copyright.*", "", text.lower()), UNKNOWN)


def _field(distribution: metadata.Distribution, name: str) -> str:
    return str((distribution.metadata.get_all(name) or [""])[0])


def cyclonedx(packages: Sequence[Package]) -> str:
    """A bill of materials (SBOM) as CycloneDX 1.5 writes it in JSON: equal packages, equal text."""
    own = next((package for package in packages if package.name == _OWN), None)
    others = [package for package in packages if package is not own]
    purls = {str(canonicalize_name(package.name)): package.purl for package in packages}
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": _component(own, "application")} if own else {},
        "components": [_component(package, "library") for package in others],
        "dependencies": [
            {"ref": package.purl, "dependsOn": [purls[name] for name in package.needs]}
            for package in packages
        ],
    }
    return json.dumps(bill, indent=1, ensure_ascii=False) + "\n"


def _component(package: Package, kind: str) -> dict[str, object]:
    is_spdx = all(part in ALLOWED for part in package.licences)
    licence = {"expression": package.licence} if is_spdx else {"license": {"name": package.licence}}
    return {
        "type": kind,
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
        "licenses": [licence],
    }
