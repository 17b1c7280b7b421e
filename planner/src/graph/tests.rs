//! Tests of graph.
