"""Figures that tests measure and do not assert: told at the end of the run, whichever process measured them."""

from collections.abc import Callable

import pytest

_NAME = "figure"
_FIGURES = pytest.StashKey[list[str]]()
Tell = Callable[[str], None]


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """`tell("[page] 87 ms")` says it in the summary."""
    return lambda line: record_property(_NAME, line)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = []
    config.pluginmanager.register(_Listener(config.stash[_FIGURES]))


class _Listener:
    def __init__(self, figures: list[str]) -> None:
        self._figures = figures

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self._figures += [str(value) for name, value in report.user_properties if name == _NAME]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash[_FIGURES]:
        terminalreporter.section("measured")
        for line in config.stash[_FIGURES]:
            terminalreporter.line(line)
