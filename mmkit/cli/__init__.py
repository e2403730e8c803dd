"""The commands: each module has `main(argv=None) -> int`; `mmkit COMMAND` finds them by name."""
