//! Runs whose truth is known: a machine that drifts, bursts of other programs, lives that
//! differ.
