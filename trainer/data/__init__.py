"""From a refresh to batches: its files, the exact reader, epochs in memory and streamed."""
