//! Habits of the workspace as code.
fn main() {}
