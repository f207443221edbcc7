"""What `tenforward check` looks for in the rows of a pipeline's tables, over any range of days."""
