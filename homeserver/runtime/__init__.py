"""What the program needs of the machine: time, randomness, tasks, the bus between processes, logs and metrics."""
