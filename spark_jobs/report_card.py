"""placeholder"""


def write_card(warehouse, entry):
    pass
