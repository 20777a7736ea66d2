//! Bad input: names, durations, records, files, a full disk.
