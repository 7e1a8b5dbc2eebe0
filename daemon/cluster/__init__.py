"""Read claimed files on the workers of a Dask cluster."""
