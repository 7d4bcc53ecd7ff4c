"""Fixtures that several folders of tests share; each theme has a plugin of its own."""

pytest_plugins = [
    "tests.fixtures_api",
    "tests.fixtures_bus",
    "tests.fixtures_figures",
    "tests.fixtures_store",
    "tests.hubs",
]
