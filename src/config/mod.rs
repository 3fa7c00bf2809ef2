//! Settings and configuration documents: from text to values that are valid as a whole.

pub mod faults;
pub mod settings;
