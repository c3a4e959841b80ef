"""What it takes to run the mill elsewhere: image, cluster, benchmarks."""
