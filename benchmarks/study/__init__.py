"""The study of docs/study.md: which rows are worth a backward pass, on data with dates.

`streams/` has the data, one file a set; the closed loops of every arm write CSV, and the tables and
plots of the page are made from that alone.
"""
