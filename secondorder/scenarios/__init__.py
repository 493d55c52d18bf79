"""What is asked: one frozen dataclass a kind of scenario, with the step time and the rules of the system."""
