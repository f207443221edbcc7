"""What is refused before a command begins: rules over several sections, and over the warehouse.

A rule is a function from what it looks at to the faults that it finds. All of them are named in
`rules.py`; what one section alone can tell is refused in `schemas/sections/`.
"""
