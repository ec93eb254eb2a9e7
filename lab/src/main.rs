//! `cargo lab`

fn main() {}
