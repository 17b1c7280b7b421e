//! Fixtures and the differential against the CLI.
