"""The commands: `mmkit COMMAND` calls `main(argv=None) -> int` of a module, which returns the exit status.

These modules read arguments and configs and import no torch; `run_train` and `run_test` do the work.
"""
