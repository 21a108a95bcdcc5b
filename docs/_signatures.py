"""What mkdocstrings shows of functions called with the fields of a value object: the fields, as arguments."""

from __future__ import annotations

from typing import Any

import griffe


class FieldsAsArguments(griffe.DataclassesExtension):
    """Gives a function that is decorated by `called_with(Options)` the parameters of `Options`."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Visit the functions of `rlstitch.api`, once the value objects have their parameters."""
        super().on_package(pkg=pkg)
        modules = [pkg["api"]]
        for module in modules:
            modules += [member for member in module.modules.values() if not member.is_alias]
            for function in (member for member in module.functions.values() if not member.is_alias):
                for decorator in function.decorators:
                    if decorator.callable_path.endswith(".called_with"):
                        options = module[str(decorator.value.arguments[0])]
                        function.parameters = griffe.Parameters(*list(options.parameters)[1:])
