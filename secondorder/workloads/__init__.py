"""What has to be done: models, arrivals, lengths, traces and training jobs."""
