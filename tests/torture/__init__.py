"""Kills of real processes all through the loop, and what the tables hold afterwards.

    python -m tests.torture --kills 20 --seed 7

`make torture` runs it. The loop runs once undisturbed; from then on processes of the same steps are
ended by SIGKILL at random times, nothing else is done to them, each command is repeated as it was,
and after every step the tables and the models must be those of the undisturbed run.
"""
