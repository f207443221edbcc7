"""What is known of one instance: its rows, the refreshes of its window, each drawn again from what
its manifest pins, and the models that learnt from it. In one process, without Spark; nothing is
written."""
