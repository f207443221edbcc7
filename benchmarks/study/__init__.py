"""The study of docs/study.md: what one backward pass in ten is best spent on."""
