"""The guest runtime: engine, modules, plugins and instances over the C core. Knows no socket and no clock."""
