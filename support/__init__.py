"""What tests and benchmarks share: daemons, sites, clusters and files to drop."""
