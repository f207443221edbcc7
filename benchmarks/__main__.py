"""`make bench`: every measurement, one after the other."""

from benchmarks.selection import main

main()
