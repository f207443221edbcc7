"""The contracts of tenforward: tables, pipeline configuration, errors and the command line."""
