"""The sections of the pipeline file, one file a section, and what they are made of."""
