"""YAML read strictly: plain values only, no key twice, and a number written as 3e-4 is a number."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from bench.system.errors import SpecError

__all__ = ["read_yaml"]

_LARGEST = 65_536
"""Bytes; a file that a person writes is far smaller."""


def read_yaml(path: Path, where: str) -> dict[str, Any]:
    """Read the fields of a YAML file that holds a mapping. `where` begins the message of an error.

    Raises:
        SpecError: if it cannot be read, or is not a mapping from texts.
    """
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            for i, key in enumerate(keys):
                if any(key.value == other.value for other in keys[:i]):
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is repeated", key.start_mark)
            return dict(super().construct_mapping(node, deep))

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                mark = self.peek_event().start_mark
                raise yaml.composer.ComposerError(None, None, "aliases (*name) are not used here", mark)
            return super().compose_node(parent, index)

    # YAML 1.1, which the library reads, takes 3e-4 for a text.
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789"))
    Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(node.value.replace("_", "")))
    if path.exists() and not path.is_file():  # opening a pipe would wait for a writer
        raise SpecError(f"{where} cannot be read: it is no file; name a YAML file")
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise SpecError(f"{where} is larger than {_LARGEST:,} bytes, which no suite is")
        document = yaml.load(data.decode("utf-8"), Loader)  # noqa: S506  a safe loader, made stricter
    except OSError as error:
        raise SpecError(f"{where} cannot be read ({error.strerror})") from None
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise SpecError(f"{where}{line}: {error.problem or 'this is no YAML'}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"{where} is no YAML ({' '.join(str(error).split())[:120]})") from None
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise SpecError(f"{where} must hold fields, such as description: What it is for")
    return document
