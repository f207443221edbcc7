"""The bound of every number that is stored: what lies beyond it counts as infinite.

Standard library only, as the reasons and the sections of the pipeline file need it too.
"""

# As the constraints in the log of every table have it: another text would be another constraint.
LARGEST_SQL = "1e30"
LARGEST = float(LARGEST_SQL)

# More rows than any table has: beyond, numbers with a point cannot count them one by one.
MOST_ROWS = 1 << 53

# A chance that weights are divided by: of less than this one row would weigh more than all others.
LEAST_CHANCE = 1e-9
