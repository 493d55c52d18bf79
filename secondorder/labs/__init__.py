"""Labs: pages to learn from, each with a question, sliders, closed forms as lines and simulations as dots."""
