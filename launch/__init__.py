"""The command line, one file per command; the scripts of the README; benchmarks.

Imports everything; nothing imports it. `cli` is the entry point. The command `rollout` is the frozen dataclass
`Rollout` in `rollout.py`: its fields are the options, its docstring is the help, and its `run()` returns the exit
status. Command modules import what is heavy inside `run`, so that `vlasteer --help` answers at once.

cli           dispatch, errors, exit status
config_file   --config: a YAML file as further flags
options       options that several commands share
serving       the server behind `serve`
setup         virtual environment, packages and system libraries, for the two scripts below
demo, test    the two scripts of the README
"""
