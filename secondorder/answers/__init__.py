"""What every witness answers with: metrics, estimates of them, and answers that hold the estimates."""
