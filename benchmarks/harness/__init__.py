"""What every benchmark needs: processes on their cores, load, interleaved slices, a report."""
